/** The line above a terminal: what is not as it should be, since when, and what can be done. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { Act, Told } from './told.js';

const LABELS: Readonly<Record<Act, string>> = {
  try: 'Try now',
  reload: 'Reload the page',
  again: 'Start it again',
  new: 'Start a new one',
  close: 'Close the tab'
};

export class Banner {
  readonly node = document.createElement('div');
  private readonly sentence = document.createElement('strong');
  private readonly since = document.createElement('span');
  private readonly hint = document.createElement('span');
  private readonly buttons = document.createElement('span');
  private acts = '';

  constructor(
    private readonly trans: TranslationBundle,
    private readonly act: (what: Act) => void
  ) {
    this.node.className = 'pth-Terminal-banner';
    this.node.hidden = true;
    const text = document.createElement('p');
    // Read aloud once; that time goes by is not.
    const spoken = document.createElement('span');
    spoken.setAttribute('role', 'status');
    spoken.append(this.sentence, ' ', this.hint);
    text.append(spoken, ' ', this.since);
    this.buttons.className = 'pth-Terminal-acts';
    this.node.append(text, this.buttons);
  }

  /** Null: nothing. `where` it lies while it lies over the terminal. Whether the terminal has other room now. */
  show(told: Told | null, where: 'top' | 'bottom'): boolean {
    const before = this.takesRoom;
    if (this.node.hidden || this.node.dataset['kind'] !== told?.kind) {
      this.node.dataset['where'] = where; // and stays there
    }
    this.node.hidden = told === null;
    set(this.sentence, told?.sentence ?? '');
    set(this.hint, told?.hint ?? '');
    set(this.since, told?.since ? `(${told.since})` : '');
    this.node.dataset['kind'] = told?.kind ?? '';
    const acts = told?.acts ?? [];
    if (acts.join() !== this.acts) {
      this.acts = acts.join();
      this.buttons.replaceChildren(...acts.map(what => this.button(what)));
    }
    return before !== this.takesRoom;
  }

  private get takesRoom(): boolean {
    return !this.node.hidden && this.node.dataset['kind'] === 'ended';
  }

  private button(what: Act): HTMLButtonElement {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'jp-Button jp-mod-styled jp-mod-minimal';
    button.textContent = this.trans.__(LABELS[what]);
    button.dataset['act'] = what;
    button.addEventListener('click', () => this.act(what));
    return button;
  }
}

function set(element: HTMLElement, text: string): void {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
