/** xterm.js with what it needs here. Loaded when the first terminal is shown: most of this extension's size is this. */

import { XtermAdapter } from '@persistent-terminal-hub/client';
import { ClipboardAddon } from '@xterm/addon-clipboard';
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { UnicodeGraphemesAddon } from '@xterm/addon-unicode-graphemes';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { WebglAddon } from '@xterm/addon-webgl';
import { Terminal, type ITerminalOptions } from '@xterm/xterm';

import '@xterm/xterm/css/xterm.css';

export interface Emulator {
  readonly term: Terminal;
  readonly fit: FitAddon;
  readonly search: SearchAddon;
  readonly adapter: XtermAdapter;
  /** Put it on the page; once. */
  open(parent: HTMLElement): void;
}

export function createEmulator(options: ITerminalOptions): Emulator {
  const term = new Terminal({ allowProposedApi: true, minimumContrastRatio: 4.5, ...options });
  const fit = new FitAddon();
  const search = new SearchAddon();
  term.loadAddon(fit);
  term.loadAddon(search);
  // As wide as the emulator on the server takes them to be: a screen that is made anew there looks the same here.
  term.loadAddon(new UnicodeGraphemesAddon());
  term.loadAddon(new WebLinksAddon(openLink));
  // A program may put something into the clipboard; it is never told what is in it.
  term.loadAddon(
    new ClipboardAddon(undefined, {
      readText: () => '',
      writeText: (_, text) => navigator.clipboard.writeText(text).catch(() => undefined)
    })
  );
  return { term, fit, search, adapter: new XtermAdapter(term), open: parent => open(term, parent) };
}

function open(term: Terminal, parent: HTMLElement): void {
  term.open(parent);
  try {
    const webgl = new WebglAddon();
    webgl.onContextLoss(() => webgl.dispose());
    term.loadAddon(webgl);
  } catch {
    // the renderer that xterm.js begins with needs no graphics processor
  }
}

function openLink(event: MouseEvent, uri: string): void {
  if (/^https?:\/\//i.test(uri)) {
    event.preventDefault();
    window.open(uri, '_blank', 'noopener,noreferrer');
  }
}
