/** A terminal on JupyterLab's page: xterm.js on our stream, and a word when something is not as it should be. */

import { ITerminal } from '@jupyterlab/terminal';
import type { TranslationBundle } from '@jupyterlab/translation';
import { PromiseDelegate } from '@lumino/coreutils';
import type { Message } from '@lumino/messaging';
import { Signal, type ISignal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import type { Session, TerminalStream, WorkspaceApi } from '@persistent-terminal-hub/client';
import type { SearchAddon } from '@xterm/addon-search';
import type { Terminal } from '@xterm/xterm';

import { Banner } from './banner.js';
import type { PersistentConnection } from './connection.js';
import type { Emulator } from './emulator.js';
import { keyOf, Leave } from './keys.js';
import { themeOf } from './themes.js';
import { told, type Act } from './told.js';

/** Milliseconds that the window must be still before the PTY is asked to follow its size. */
const STILL = 80;
/** Milliseconds between two looks at how long it has been so. */
const TICK = 1_000;

export interface WidgetOptions {
  readonly session: PersistentConnection;
  /** Set when it had ended before: what it printed is shown. */
  readonly past: Session | null;
  readonly api: WorkspaceApi;
  readonly options: Partial<ITerminal.IOptions>;
  readonly trans: TranslationBundle;
  /** Start the session anew, or another one in its place. */
  again(widget: PersistentTerminal): void;
}

export class PersistentTerminal extends Widget implements ITerminal.ITerminal {
  readonly session: PersistentConnection;
  private readonly options: ITerminal.IOptions;
  private readonly banner: Banner;
  private readonly place = document.createElement('div');
  private readonly wasReady = new PromiseDelegate<void>();
  private readonly signals = {
    themeChanged: new Signal<this, void>(this),
    escapeHintRequested: new Signal<this, void>(this)
  };
  private readonly trans: TranslationBundle;
  private readonly leave: Leave;
  private emulator: Emulator | null = null;
  private shown = false;
  private named = '';
  private timer = 0;
  private ticking = 0;

  constructor(private readonly from: WidgetOptions) {
    super();
    const { session, trans } = from;
    this.session = session;
    this.trans = trans;
    this.options = { ...ITerminal.defaultOptions, ...from.options };
    session.hold();
    this.addClass('jp-Terminal');
    this.addClass('pth-Terminal');
    this.banner = new Banner(trans, what => this.act(what));
    this.place.className = 'pth-Terminal-place';
    this.node.append(this.banner.node, this.place);
    this.leave = new Leave(this.node, trans, () => this.signals.escapeHintRequested.emit());
    this.applyTheme();
    this.nameIt();
    this.listen();
    void this.load();
  }

  // As JupyterLab wants it ------------------------------------------------------------------------

  /** When there is an emulator. */
  get ready(): Promise<void> {
    return this.wasReady.promise;
  }

  /** Null: not loaded yet. */
  get term(): Terminal | null {
    return this.emulator?.term ?? null;
  }

  get stream(): TerminalStream {
    return this.session.stream;
  }

  get search(): SearchAddon | null {
    return this.emulator?.search ?? null;
  }

  get themeChanged(): ISignal<this, void> {
    return this.signals.themeChanged;
  }

  get escapeHintRequested(): ISignal<this, void> {
    return this.signals.escapeHintRequested;
  }

  getOption<K extends keyof ITerminal.IOptions>(option: K): ITerminal.IOptions[K] {
    return this.options[option];
  }

  setOption<K extends keyof ITerminal.IOptions>(option: K, value: ITerminal.IOptions[K]): void {
    if (option !== 'theme' && this.options[option] === value) {
      return;
    }
    this.options[option] = value;
    if (option === 'theme') {
      this.applyTheme();
      this.signals.themeChanged.emit();
    } else if (this.term) {
      Object.assign(this.term.options, emulated({ [option]: value }));
    }
    this.fitSoon();
  }

  /** Try to attach at once, and draw everything anew. */
  async refresh(): Promise<void> {
    if (this.from.past === null && this.session.exit === null) {
      await this.session.reconnect();
    }
    this.term?.clearTextureAtlas();
    this.term?.refresh(0, this.term.rows - 1);
    this.fitSoon();
  }

  hasSelection(): boolean {
    return this.term?.hasSelection() ?? false;
  }

  getSelection(): string | null {
    return this.term?.getSelection() ?? null;
  }

  paste(data: string): void {
    this.term?.paste(data);
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    window.clearTimeout(this.timer);
    window.clearInterval(this.ticking);
    document.removeEventListener('visibilitychange', this.seen);
    this.leave.dispose();
    if (this.options.shutdownOnClose && !this.session.isDisposed && this.from.past === null) {
      this.session.shutdown().catch(error => console.error('The terminal was not shut down:', error));
    } else {
      this.session.dispose();
    }
    this.emulator?.adapter.dispose();
    this.emulator?.term.dispose();
    super.dispose();
  }

  protected override onAfterAttach(_: Message): void {
    document.addEventListener('visibilitychange', this.seen);
    this.update();
  }

  protected override onAfterShow(_: Message): void {
    this.update();
  }

  protected override onAfterHide(_: Message): void {
    this.seen();
  }

  protected override onResize(_: Widget.ResizeMessage): void {
    this.update();
  }

  protected override onActivateRequest(_: Message): void {
    this.term?.focus();
  }

  protected override onUpdateRequest(_: Message): void {
    const { emulator } = this;
    if (emulator && this.isVisible && !this.shown) {
      this.shown = true;
      emulator.open(this.place);
      emulator.term.element?.classList.add('jp-Terminal-body');
      emulator.term.textarea?.addEventListener('focus', () => this.stream.focus());
      this.leave.adopt(emulator.term);
      this.begin(emulator);
    }
    this.seen();
    this.fitSoon();
  }

  // Its life --------------------------------------------------------------------------------------

  private async load(): Promise<void> {
    try {
      const { createEmulator } = await import('./emulator.js');
      if (this.isDisposed) {
        return;
      }
      this.emulator = createEmulator({ ...emulated(this.options), theme: themeOf(this.options.theme) });
      const { term, adapter } = this.emulator;
      if (this.from.past === null) {
        adapter.attach(this.stream);
      }
      term.onTitleChange(title => this.nameIt(title));
      term.onResize(() => this.look());
      term.attachCustomKeyEventHandler(event =>
        keyOf(event, term.hasSelection(), this.options.pasteWithCtrlV, text => this.stream.input(text))
      );
      this.wasReady.resolve();
      this.update();
    } catch (error) {
      this.wasReady.reject(error);
      this.place.textContent = this.trans.__('The terminal could not be loaded: reload the page.');
      console.error('The terminal could not be loaded:', error);
    }
  }

  /** It is on the page and has its size. */
  private begin(emulator: Emulator): void {
    const { past } = this.from;
    if (past === null) {
      const { rows, cols } = this.wish(emulator);
      this.stream.resize(rows, cols);
      this.session.open(emulator.adapter.sink);
      return;
    }
    emulator.term.resize(Math.max(2, past.cols), past.rows);
    this.from.api
      .output(past.id)
      .then(bytes => emulator.term.write(bytes))
      .catch((error: unknown) => emulator.term.write(`\x1b[3m${error instanceof Error ? error.message : ''}\x1b[0m`))
      .finally(() => emulator.term.write('\x1b[?1049l\x1b[?25l', () => this.fitSoon()));
  }

  private get ended(): boolean {
    return this.from.past !== null || this.stream.state.condition === 'ended';
  }

  private listen(): void {
    const { session, stream } = this;
    let first = this.options.initialCommand;
    stream.on('state', ({ condition }) => {
      if (condition === 'live' && first !== '') {
        stream.input(`${first}\r`);
        first = '';
      }
      this.look();
    });
    stream.on('size', () => this.look());
    stream.on('ended', () => {
      this.look();
      if (this.options.closeOnExit) {
        this.dispose();
      }
    });
    session.renamed.connect(() => this.nameIt());
    session.disposed.connect(() => this.dispose());
    this.look();
  }

  /** Say what is to be said, and again each second while time matters. */
  private look(): void {
    if (this.isDisposed) {
      return;
    }
    const { stream, term, emulator } = this;
    const { past } = this.from;
    const wish = emulator && this.shown && this.isVisible && this.options.autoFit ? this.wish(emulator) : null;
    const fits = !term || !wish || (wish.rows === term.rows && wish.cols === term.cols) || this.timer !== 0;
    const condition = past ? 'ended' : stream.state.condition;
    const news = told({
      ...stream.state,
      condition,
      now: new Date(),
      exit: past ? past.exit : this.session.exit,
      unsent: stream.unsent,
      watching: stream.mode === 'watch',
      sized: fits || !term ? null : { rows: term.rows, cols: term.cols }
    });
    this.node.dataset['condition'] = condition;
    this.title.caption = news ? `${this.named}: ${news.sentence}` : this.named;
    // It lies over the terminal, whose size must not change for it; not where the cursor is.
    const low = term !== null && term.buffer.active.cursorY >= term.rows / 2;
    if (this.banner.show(news, low ? 'top' : 'bottom')) {
      this.fitSoon();
    }
    const ticks = news?.since !== undefined && news.since !== '';
    if (ticks && this.ticking === 0) {
      this.ticking = window.setInterval(() => this.look(), TICK);
    } else if (!ticks && this.ticking !== 0) {
      window.clearInterval(this.ticking);
      this.ticking = 0;
    }
  }

  private act(what: Act): void {
    if (what === 'try') {
      this.stream.retry();
      this.activate();
    } else if (what === 'reload') {
      location.reload();
    } else if (what === 'close') {
      this.dispose();
    } else {
      this.from.again(this);
    }
  }

  // Small things ----------------------------------------------------------------------------------

  private nameIt(title = ''): void {
    this.named = this.trans.__('Terminal %1', this.session.name);
    this.title.label = title || this.named;
    this.look();
  }

  private readonly seen = (): void => {
    this.stream.setVisible(this.shown && this.isVisible && document.visibilityState === 'visible');
  };

  private applyTheme(): void {
    const { theme } = this.options;
    const colours = themeOf(theme);
    this.node.dataset['termTheme'] = theme;
    this.place.style.background = colours.background ?? '';
    if (this.term) {
      this.term.options.theme = colours;
    }
  }

  /** Rows and columns that there is room for. */
  private wish({ fit, term }: Emulator): { readonly rows: number; readonly cols: number } {
    const room = this.options.autoFit ? fit.proposeDimensions() : undefined;
    return room && room.rows > 0 && room.cols > 1 ? room : { rows: term.rows, cols: term.cols };
  }

  private fitSoon(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      const { emulator } = this;
      if (this.isDisposed || !emulator || !this.shown || !this.isVisible) {
        return;
      }
      const { rows, cols } = this.wish(emulator);
      if (this.ended) {
        emulator.term.resize(cols, rows); // nobody else's size any more
      } else {
        this.stream.resize(rows, cols);
      }
      this.look();
    }, STILL);
  }
}

/** What of it is xterm.js's. */
function emulated(options: Partial<ITerminal.IOptions>): Partial<ITerminal.IOptions> {
  const names = [
    'cursorBlink',
    'fontFamily',
    'fontSize',
    'lineHeight',
    'macOptionIsMeta',
    'screenReaderMode',
    'scrollback'
  ] as const;
  return Object.fromEntries(names.flatMap(name => (options[name] === undefined ? [] : [[name, options[name]]])));
}
