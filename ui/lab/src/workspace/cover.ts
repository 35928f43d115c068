/** The cover of a locked page: nothing behind it can be seen, reached by keyboard, or read aloud. */

import type { Status } from '@persistent-terminal-hub/client';

const ROOT_CLASS = 'pth-locked';
const TITLE = 'Locked';

/** JupyterLab listens to these on the document, wherever the focus is: its shortcuts must not run. */
const KEYS = ['keydown', 'keypress', 'keyup'] as const;

const AWAY = 'The workspace does not answer. This page looks again by itself.';
const UNKNOWN =
  'The workspace does not know at the moment whether it is locked, and stays closed. This page looks again by itself.';
const NO_HUB =
  'The hub does not answer, and only a login there opens this workspace. It stays locked until then; this page looks again by itself.';

export class Cover {
  private dialog: HTMLDialogElement | null = null;
  private since!: HTMLElement;
  private why!: HTMLElement;
  private news!: HTMLElement;
  private focused: Element | null = null;
  private title = '';
  private tab: Window | null = null;
  /** JupyterLab names the document in the tab's title, also a moment after the lock. */
  private readonly titles = new MutationObserver(() => this.keepTitle());

  /** `login(next)`: the address of the lock page, which leads to a fresh login and then to `next`. */
  constructor(private readonly login: (next: string) => string) {}

  show(status: Status): void {
    if (this.dialog === null) {
      this.focused = document.activeElement;
      this.title = document.title;
      this.dialog = this.build();
      document.body.append(this.dialog);
      document.documentElement.classList.add(ROOT_CLASS);
      for (const name of KEYS) {
        window.addEventListener(name, keepKeys, true);
      }
      document.title = TITLE;
      this.titles.observe(document.head, { childList: true, characterData: true, subtree: true });
      // In the browser's top layer: all else is inert, and the focus stays inside.
      this.dialog.showModal();
    }
    this.update(status);
  }

  /** What the server says now; null: it does not answer. */
  update(status: Status | null): void {
    if (this.dialog === null) {
      return;
    }
    if (status?.since) {
      const time = document.createElement('time');
      time.dateTime = status.since;
      time.textContent = new Date(status.since).toLocaleString();
      this.since.replaceChildren('Locked since ', time, '.');
    }
    if (status?.reason) {
      this.why.textContent = status.reason;
    }
    const text =
      status === null ? AWAY : status.lock === 'unknown' ? UNKNOWN : status.hubReachable === false ? NO_HUB : '';
    // Read aloud when it changes, not at every look.
    if (this.news.textContent !== text) {
      this.news.textContent = text;
      this.news.hidden = text === '';
    }
  }

  hide(): void {
    const dialog = this.dialog;
    if (dialog === null) {
      return;
    }
    this.dialog = null;
    dialog.close();
    dialog.remove();
    document.documentElement.classList.remove(ROOT_CLASS);
    for (const name of KEYS) {
      window.removeEventListener(name, keepKeys, true);
    }
    this.titles.disconnect();
    document.title = this.title;
    if (this.focused instanceof HTMLElement && this.focused.isConnected) {
      this.focused.focus({ preventScroll: true });
    }
    this.focused = null;
    // The tab of the login has done its work. One that a provider has cut off from us stays.
    this.tab?.close();
    this.tab = null;
  }

  private keepTitle(): void {
    if (document.title !== TITLE) {
      this.title = document.title;
      document.title = TITLE;
    }
  }

  private build(): HTMLDialogElement {
    const dialog = document.createElement('dialog');
    dialog.id = 'pth-lock';
    dialog.setAttribute('role', 'alertdialog');
    dialog.setAttribute('aria-labelledby', 'pth-lock-title');
    dialog.setAttribute('aria-describedby', 'pth-lock-text');
    dialog.setAttribute('closedby', 'none');
    dialog.addEventListener('cancel', event => event.preventDefault());
    // A browser may close a dialog at a second Escape, whatever the page says.
    dialog.addEventListener('close', () => {
      if (this.dialog === dialog && dialog.isConnected) {
        dialog.showModal();
      }
    });

    const heading = element('h1', '', 'This workspace is locked');
    heading.id = 'pth-lock-title';
    this.since = element('span', '', 'It is locked.');
    this.why = element('span');
    const when = element('p');
    when.append(this.since, ' ', this.why);
    const text = element('div');
    text.id = 'pth-lock-text';
    text.append(
      when,
      element('p', '', 'Processes and output go on. Nothing is shown and nothing can be typed until you log in again.')
    );
    this.news = element('p', 'pth-lock-news');
    this.news.setAttribute('role', 'status');
    this.news.hidden = true;

    const here = location.pathname + location.search;
    const fresh = link('pth-lock-first', 'Log in again', this.login(here));
    fresh.target = '_blank';
    fresh.rel = 'noopener';
    fresh.autofocus = true;
    fresh.addEventListener('click', event => this.open(event, fresh.href));
    const actions = element('p', 'pth-lock-actions');
    actions.append(fresh, link('', 'Log in in this tab', this.login(here)));

    const card = element('div', 'pth-lock-card');
    card.append(
      heading,
      text,
      this.news,
      actions,
      element(
        'p',
        'pth-lock-hint',
        '“Log in again” opens a new tab, and this one goes on where it was, with what is not saved yet. Logging in ' +
          'in this tab loads the page anew: what is not saved is lost.'
      )
    );
    dialog.append(card);
    return dialog;
  }

  /** A tab that this page can close afterwards, and that cannot steer this page. */
  private open(event: MouseEvent, address: string): void {
    if (event.ctrlKey || event.metaKey || event.shiftKey) {
      return; // as the person wants it
    }
    const tab = window.open('', '_blank');
    if (tab === null) {
      return; // pop-ups are blocked; the link itself still works
    }
    event.preventDefault();
    tab.opener = null;
    tab.location.href = address;
    this.tab = tab;
  }
}

function keepKeys(event: Event): void {
  event.stopImmediatePropagation();
}

function element<K extends keyof HTMLElementTagNameMap>(name: K, style = '', text = ''): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  if (style) {
    made.className = style;
  }
  made.textContent = text;
  return made;
}

function link(style: string, text: string, address: string): HTMLAnchorElement {
  const made = element('a', style, text);
  made.href = address;
  return made;
}
