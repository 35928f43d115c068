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

  /** Null: nothing. Whether its height may have changed. */
  show(told: Told | null): boolean {
    const before = this.node.hidden;
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
    return before !== this.node.hidden;
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
