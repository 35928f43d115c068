/** One terminal on the page: xterm.js, its add-ons, and the stream behind it. */

import {
  TerminalStream,
  XtermAdapter,
  type DropReason,
  type Notice,
  type Session,
  type TerminalState,
  type WorkspaceApi
} from '@persistent-terminal-hub/client';
import { ClipboardAddon } from '@xterm/addon-clipboard';
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon, type ISearchOptions } from '@xterm/addon-search';
import { UnicodeGraphemesAddon } from '@xterm/addon-unicode-graphemes';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { WebglAddon } from '@xterm/addon-webgl';
import { Terminal } from '@xterm/xterm';

import { Absence } from './absence.js';
import { selectedText, toClipboard, type How } from './copying.js';
import { xsrfOf, type Facts } from './facts.js';
import { Landmarks } from './landmarks.js';
import { isDark, type Prefs } from './prefs.js';
import { Prompts } from './prompts.js';
import { DARK, LIGHT } from './themes.js';
import { isRisky } from './words.js';

const FONT = 'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';
const SCROLLBACK = 10_000;
/** The browser's own note of when the first terminal of the page could be used. */
const READY = 'pth:ready';
/** Milliseconds that the window must be still before the PTY is asked to follow its size. */
const STILL = 80;

/** What the page does with what a terminal tells. */
export interface Host {
  changed(): void;
  notice(notice: Notice): void;
  dropped(size: number, reason: DropReason): void;
  ended(): void;
  locked(): void;
  /** Look at it before it is pasted. */
  risky(text: string): void;
  /** A key that is the page's; true: it was one. */
  key(event: KeyboardEvent): boolean;
  /** The keyboard went into it. */
  focused(): void;
  /** A shell has marked its prompt or a command; `fresh`: while this page knew the session. */
  mark(data: string, fresh: boolean, what: string | null): void;
  /** The screen begins anew. */
  cleared(): void;
}

const KEY = 'pth-client:';

function remembered(id: string): string | undefined {
  try {
    return sessionStorage.getItem(KEY + id) ?? undefined;
  } catch {
    return undefined;
  }
}

function remember(id: string, client: string): void {
  try {
    sessionStorage.setItem(KEY + id, client);
  } catch {
    // then a reload is another client
  }
}

export class TerminalView {
  readonly element = document.createElement('div');
  readonly term: Terminal;
  readonly stream: TerminalStream;
  readonly absence: Absence;
  title = '';
  /** Bytes of the output that were left out here, to keep up. */
  skipped = 0;
  found: { readonly index: number; readonly count: number } | null = null;
  private readonly fit = new FitAddon();
  private readonly search = new SearchAddon();
  private readonly adapter: XtermAdapter;
  private readonly landmarks: Landmarks;
  private readonly resizes = new ResizeObserver(() => this.fitSoon());
  private timer = 0;
  private seen = false;
  private opened = false;

  constructor(
    private readonly session: Session,
    facts: Facts,
    private readonly api: WorkspaceApi,
    prefs: Prefs,
    private readonly host: Host
  ) {
    const { id } = session;
    this.element.className = 'terminal';
    this.term = new Terminal({
      allowProposedApi: true,
      cursorBlink: true,
      fontFamily: FONT,
      fontSize: prefs.fontSize,
      macOptionIsMeta: true,
      minimumContrastRatio: 4.5,
      overviewRuler: { width: 14 },
      rightClickSelectsWord: true,
      scrollback: SCROLLBACK,
      theme: isDark(prefs.theme) ? DARK : LIGHT
    });
    const { term } = this;
    term.loadAddon(this.fit);
    term.loadAddon(this.search);
    term.loadAddon(new UnicodeGraphemesAddon());
    term.loadAddon(new WebLinksAddon((event, uri) => openLink(event, uri)));
    // A program may put something into the clipboard; it is never told what is in it.
    term.loadAddon(
      new ClipboardAddon(undefined, {
        readText: () => '',
        writeText: async (_, text) => void (await toClipboard(text))
      })
    );
    this.adapter = new XtermAdapter(term);
    this.landmarks = new Landmarks(this.adapter.sink, () => {
      const { known } = this.stream;
      if (known !== null) {
        this.landmarks.when(known, () => undefined); // history ends there, whatever comes in one piece with it
      }
      host.cleared();
      this.absence.cleared();
    }, () => this.absence.drawn(), () => this.stream.own);
    const client = remembered(id);
    this.stream = new TerminalStream({
      baseUrl: facts.baseUrl,
      session: id,
      sink: this.landmarks.sink,
      size: { rows: term.rows, cols: term.cols },
      visible: false,
      api: { xsrf: () => xsrfOf(facts) },
      ...(client === undefined ? {} : { client })
    });
    remember(id, this.stream.client);
    this.absence = new Absence(id, term, this.stream, this.landmarks, () => host.changed());
    if (session.state !== 'ended') {
      this.adapter.attach(this.stream);
    }
    this.listen();
  }

  get state(): TerminalState {
    return this.stream.state;
  }

  /** Show it in `parent`, or nowhere. */
  mount(parent: HTMLElement | null): void {
    if (parent === null) {
      this.element.remove();
      this.resizes.disconnect();
      return;
    }
    parent.append(this.element);
    if (!this.opened) {
      this.opened = true;
      this.term.open(this.element);
      this.draw();
      this.element.addEventListener('paste', event => this.pasted(event), true);
      this.element.addEventListener('copy', event => this.copied(event), true);
      this.element.addEventListener('pointerdown', () => this.host.focused(), true);
      this.term.textarea?.addEventListener('focus', event => {
        this.stream.focus();
        // A dialog that closes gives the keyboard back to where it was: nobody went there.
        if (event.relatedTarget instanceof Element && !event.relatedTarget.closest('dialog')) {
          this.host.focused();
        }
      });
      const { rows, cols } = this.wish();
      this.stream.resize(rows, cols);
      if (this.session.state === 'ended') {
        void this.showKept();
      } else {
        this.stream.open();
      }
    }
    this.resizes.observe(parent);
    this.fitSoon();
  }

  setVisible(visible: boolean): void {
    if (visible !== this.seen) {
      this.seen = visible;
      this.stream.setVisible(visible);
      if (this.session.state === 'ended') {
        return;
      }
      if (visible) {
        this.absence.come();
      } else {
        this.absence.leave();
      }
    }
  }

  apply(prefs: Prefs): void {
    this.term.options.fontSize = prefs.fontSize;
    this.term.options.theme = isDark(prefs.theme) ? DARK : LIGHT;
    this.fitSoon();
  }

  /** Rows and columns that the window has room for. */
  wish(): { readonly rows: number; readonly cols: number } {
    const room = this.fit.proposeDimensions();
    return room && room.rows > 0 && room.cols > 1 ? room : { rows: this.term.rows, cols: this.term.cols };
  }

  find(text: string, back: boolean, typing = false): void {
    const options: ISearchOptions = {
      incremental: typing,
      decorations: {
        matchBackground: '#8a6d00',
        matchOverviewRuler: '#e3b341',
        activeMatchBackground: '#c4500a',
        activeMatchColorOverviewRuler: '#ff7b72'
      }
    };
    if (text === '') {
      this.search.clearDecorations();
      this.found = null;
      this.host.changed();
    } else if (back) {
      this.search.findPrevious(text, options);
    } else {
      this.search.findNext(text, options);
    }
  }

  /** What was left out is known to the person. */
  forgetSkipped(): void {
    this.skipped = 0;
    this.term.focus();
    this.host.changed();
  }

  endFind(): void {
    this.search.clearDecorations();
    this.found = null;
    this.term.focus();
  }

  /** Whether something was selected, and is in the clipboard now. */
  async copy(how: How = 'joined'): Promise<boolean> {
    const text = selectedText(this.term, how);
    return text !== '' && toClipboard(text);
  }

  /** Paste, after the person looked at it if that is wise. */
  offer(text: string): void {
    if (isRisky(text)) {
      this.host.risky(text);
    } else {
      this.term.paste(text);
    }
  }

  dispose(): void {
    window.clearTimeout(this.timer);
    this.resizes.disconnect();
    this.absence.leave(true);
    this.stream.close();
    this.adapter.dispose();
    this.term.dispose();
    this.element.remove();
  }

  /** What an ended session has printed: nobody answers its questions any more. */
  private async showKept(): Promise<void> {
    const { term, session } = this;
    term.resize(Math.max(2, session.cols), session.rows);
    try {
      term.write(await this.api.output(session.id));
    } catch (error) {
      term.write(`\x1b[3m${error instanceof Error ? error.message : 'What it printed could not be had.'}\x1b[0m`);
    }
    term.write('\x1b[?1049l\x1b[?25l');
  }

  private listen(): void {
    const { stream, host, term } = this;
    stream.on('state', ({ condition }) => {
      if (condition === 'live') {
        if (performance.getEntriesByName(READY).length === 0) {
          performance.mark(READY);
        }
        this.absence.count();
      } else if (condition === 'locked') {
        host.locked();
      } else if (condition === 'ended') {
        host.ended();
      }
      host.changed();
    });
    stream.on('size', () => host.changed());
    stream.on('cleared', () => this.absence.count());
    new Prompts(term, (data, what) => {
      const { at } = this.landmarks;
      host.mark(data, at !== null && stream.known !== null && at >= stream.known, what);
    });
    term.onKey(() => this.absence.settle());
    stream.on('renamed', () => host.changed());
    stream.on('skipped', ({ start, stop }) => {
      this.skipped += stop - start;
      host.changed();
    });
    stream.on('notice', notice => host.notice(notice));
    stream.on('dropped', ({ size, reason }) => host.dropped(size, reason));
    stream.on('client', client => remember(this.session.id, client));
    term.onResize(() => host.changed());
    term.onTitleChange(title => {
      this.title = title;
      host.changed();
    });
    this.search.onDidChangeResults(({ resultIndex, resultCount }) => {
      this.found = { index: resultIndex, count: resultCount };
      host.changed();
    });
    term.attachCustomKeyEventHandler(event => {
      if (event.type !== 'keydown') {
        return true;
      }
      const copies = event.ctrlKey && !event.altKey && !event.metaKey && event.code === 'KeyC';
      if (copies && term.hasSelection()) {
        event.preventDefault();
        void this.copy().then(() => term.clearSelection());
        return false;
      }
      if (event.ctrlKey && event.shiftKey && event.code === 'KeyV') {
        return false; // the browser pastes, and `pasted` hears of it
      }
      return !host.key(event);
    });
  }

  /** With the graphics processor where there is one; its loss is no loss. */
  private draw(): void {
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      this.term.loadAddon(webgl);
    } catch {
      // the renderer that xterm.js begins with needs none
    }
  }

  /** By the browser's own menu or key. */
  private copied(event: ClipboardEvent): void {
    const text = selectedText(this.term, 'joined');
    if (text !== '') {
      event.preventDefault();
      event.stopImmediatePropagation();
      event.clipboardData?.setData('text/plain', text);
    }
  }

  private pasted(event: ClipboardEvent): void {
    const text = event.clipboardData?.getData('text/plain') ?? '';
    if (isRisky(text)) {
      event.preventDefault();
      event.stopPropagation();
      this.host.risky(text);
    }
  }

  private fitSoon(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      if (this.session.state !== 'ended' && this.element.isConnected && this.element.clientWidth > 0) {
        const { rows, cols } = this.wish();
        this.stream.resize(rows, cols);
        this.host.changed();
      }
    }, STILL);
  }
}

function openLink(event: MouseEvent, uri: string): void {
  if (/^https?:\/\//i.test(uri)) {
    event.preventDefault();
    window.open(uri, '_blank', 'noopener,noreferrer');
  }
}
