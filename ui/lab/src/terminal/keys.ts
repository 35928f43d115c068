/** Keys that are not simply typed, and how the keyboard leaves a terminal. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { Terminal } from '@xterm/xterm';

/** Milliseconds in which a second Escape leaves the terminal. */
const TWICE = 350;
const MAC = /mac/i.test(typeof navigator === 'undefined' ? '' : navigator.userAgent);

/** For xterm.js: whether the key is the terminal's. `type` sends what is to be sent in its place. */
export function keyOf(
  event: KeyboardEvent,
  selected: boolean,
  pasteWithCtrlV: boolean,
  type: (text: string) => void,
  mac = MAC
): boolean {
  if (event.type !== 'keydown') {
    return true;
  }
  // A new line that is not the end of the command, for programs that know the difference.
  if (event.shiftKey && event.key === 'Enter' && !event.isComposing && event.keyCode !== 229) {
    event.preventDefault();
    type('\n');
    return false;
  }
  if (mac || !event.ctrlKey || event.altKey) {
    return true;
  }
  // The browser copies and pastes.
  const copies = event.key === 'c' && selected;
  const pastes = (event.key === 'v' && pasteWithCtrlV) || (event.shiftKey && event.key === 'V');
  return !copies && !pastes;
}

let count = 0;

/** Escape twice leaves the terminal, so that Tab reaches what is beside it; Enter comes back. */
export class Leave {
  private readonly help = document.createElement('p');
  private timer = 0;
  private input: HTMLTextAreaElement | undefined;

  /** `hint` is called for who seems to look for the way out. */
  constructor(
    private readonly node: HTMLElement,
    trans: TranslationBundle,
    private readonly hint: () => void
  ) {
    count += 1;
    this.help.id = `pth-terminal-help-${count}`;
    this.help.className = 'pth-sr-only';
    this.help.textContent = trans.__(
      'Press Escape twice to leave the terminal, and Enter to come back to it.'
    );
    node.append(this.help);
    node.addEventListener('keydown', this.key, true);
  }

  adopt(term: Terminal): void {
    this.input = term.textarea;
    this.input?.setAttribute('aria-describedby', this.help.id);
    this.input?.addEventListener('focus', () => {
      this.node.removeAttribute('tabindex');
      this.input?.removeAttribute('tabindex');
    });
  }

  dispose(): void {
    window.clearTimeout(this.timer);
    this.node.removeEventListener('keydown', this.key, true);
  }

  private readonly key = (event: KeyboardEvent): void => {
    const { input, node } = this;
    const waiting = this.timer !== 0;
    window.clearTimeout(this.timer);
    this.timer = 0;
    if (event.target === input && event.key === 'Escape') {
      if (!waiting) {
        this.timer = window.setTimeout(() => {
          this.timer = 0;
          this.hint();
        }, TWICE);
        return;
      }
      stop(event);
      // No key comes here again by Tab: that would be a trap.
      input?.setAttribute('tabindex', '-1');
      node.tabIndex = 0;
      node.focus();
    } else if (event.target === node && event.key === 'Enter') {
      stop(event);
      input?.focus();
    }
  };
}

function stop(event: Event): void {
  event.preventDefault();
  event.stopPropagation();
}
