/** Everything that the page knows, and does, outside its components. */

import {
  announcedIn,
  ApiError,
  fresh,
  listen,
  sentence,
  Watch,
  WorkspaceApi,
  type Session
} from '@persistent-terminal-hub/client';

import { endText, type CommandEnd } from './commands.js';
import { Desk } from './desk.js';
import { xsrfOf, type Facts } from './facts.js';
import { hide, keep, move, replace, resize, show, split, unsplit, type Layout } from './layout.js';
import { News, notify } from './news.js';
import type { Prefs } from './prefs.js';
import { beyond, leaves, MOST_PANES, type Direction, type Way } from './splits.js';
import { asError, Store } from './store.js';
import { TerminalView, type Host } from './view.js';
import { droppedText, span } from './words.js';

/** Milliseconds between two looks at the sessions. */
const EVERY = { visible: 4_000, hidden: 60_000 } as const;
const EXTEND = 24 * 3600;

/** The session that the address names; empty: none. */
function hashed(): string {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

export class Workspace extends Store {
  readonly api: WorkspaceApi;
  readonly views = new Map<string, TerminalView>();
  onKey: (event: KeyboardEvent) => boolean = () => false;
  private readonly desk: Desk;
  private readonly news: News;
  private readonly watch: Watch;
  private timer = 0;
  private warned = new Set<string>();
  private asking = false;

  constructor(readonly facts: Facts) {
    super();
    this.api = new WorkspaceApi(facts.baseUrl, { xsrf: () => xsrfOf(facts) });
    this.desk = new Desk(this.api, error => this.toast(`The arrangement of the page was not kept. ${asError(error).message}`, true));
    this.news = new News(
      () => this.snapshot.prefs.long,
      (session, end) => this.commandEnded(session, end)
    );
    this.watch = new Watch(`${facts.baseUrl}persistent-terminals/api/status`, (input, init) => fetch(input, init), {
      cover: status => this.set({ locked: { status } }),
      uncover: () => this.opened(),
      news: status => this.set({ locked: { status } })
    });
  }

  protected override get layout(): Layout {
    return this.desk.layout;
  }

  // Life ------------------------------------------------------------------------------------------

  async start(): Promise<void> {
    this.watch.start();
    listen(
      leaving => void this.api.presence(leaving).catch(() => undefined),
      () => this.snapshot.locked !== null
    );
    window.addEventListener('hashchange', () => {
      const wanted = hashed();
      this.openId(this.snapshot.sessions?.find(({ id, name }) => id === wanted || name === wanted)?.id ?? '');
    });
    window.addEventListener('pagehide', () => this.views.forEach(view => view.setVisible(false)));
    window.addEventListener('pageshow', () => this.showViews());
    this.narrow.addEventListener('change', () => {
      this.set({ narrow: this.narrow.matches });
      this.showViews();
    });
    document.addEventListener('visibilitychange', () => {
      this.showViews();
      if (document.visibilityState === 'visible') {
        void this.refresh();
      }
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.setPrefs({}));
    await this.refresh();
  }

  /** The first time that the sessions are known: show the one that was asked for. */
  private begin(): void {
    const { tabs, sessions } = this.snapshot;
    const wanted = hashed();
    const first = tabs.find(({ id, name }) => id === wanted || name === wanted) ?? tabs[0];
    if (first) {
      this.activate(first.id);
    } else if (wanted === '' && sessions?.length === 0) {
      // Nobody comes here to look at nothing.
      void this.say(this.create({})).then(error => error && this.toast(`${error.message} ${error.hint}`.trim(), true));
    }
  }

  async refresh(): Promise<void> {
    window.clearTimeout(this.timer);
    if (!this.asking && this.snapshot.locked === null) {
      this.asking = true;
      try {
        const { turn } = this.desk;
        const [sessions, layout] = await Promise.all([this.api.list(), this.api.layout()]);
        this.desk.take(layout, turn);
        const first = this.snapshot.sessions === null;
        this.set({ sessions, problem: null, asOf: Date.now() });
        if (first) {
          this.begin();
        }
        this.sessionsChanged(sessions);
      } catch (error) {
        const problem = asError(error);
        if (problem.kind === 'locked') {
          this.watch.locked();
        } else {
          this.watch.hint();
          this.set({ problem });
        }
      } finally {
        this.asking = false;
      }
    }
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(
      () => void this.refresh(),
      document.visibilityState === 'visible' ? EVERY.visible : EVERY.hidden
    );
  }

  private sessionsChanged(sessions: readonly Session[]): void {
    const there = new Set(sessions.map(({ id }) => id));
    for (const [id, view] of this.views) {
      if (!there.has(id)) {
        view.dispose();
        this.views.delete(id);
      }
    }
    const { active, tabs } = this.snapshot;
    if (active !== null && !tabs.some(({ id }) => id === active)) {
      this.activate(tabs[0]?.id ?? null);
    }
    this.showViews();
    this.news.list(sessions);
    for (const one of fresh(announcedIn(sessions), this.warned)) {
      this.toast(sentence(one), false, { what: 'extend', session: one.id });
    }
  }

  private opened(): void {
    this.set({ locked: null });
    this.views.forEach(view => view.stream.retry());
    void this.refresh();
  }

  // Tabs ------------------------------------------------------------------------------------------

  /** Show a session; it is attached to when it is shown first. */
  activate(id: string | null): void {
    if (id !== null && id === this.snapshot.active) {
      return;
    }
    this.set({ active: id });
    this.showViews();
    const name = this.snapshot.tabs.find(tab => tab.id === id)?.name;
    history.replaceState(null, '', name === undefined ? location.pathname : `#${encodeURIComponent(name)}`);
  }

  /** Another tab: the next, or the one before. */
  step(by: number): void {
    const { tabs, active } = this.snapshot;
    const at = tabs.findIndex(({ id }) => id === active);
    const next = tabs[(at + by + tabs.length) % tabs.length];
    if (next) {
      this.activate(next.id);
    }
  }

  moveTab(id: string, by: number): void {
    this.arrange(move(this.desk.layout, this.snapshot.tabs, id, by));
  }

  /** Close its tab; the session goes on. */
  close(id: string): void {
    const { tabs, active, shown } = this.snapshot;
    const at = tabs.findIndex(tab => tab.id === id);
    const [other] = shown === null ? [] : leaves(shown).filter(one => one !== id);
    const beside = other ?? tabs[at + 1]?.id ?? tabs[at - 1]?.id ?? null;
    this.views.get(id)?.dispose();
    this.views.delete(id);
    this.arrange(hide(this.desk.layout, id));
    if (active === id) {
      this.activate(beside);
    }
  }

  /** Give a session a tab, if it has none, and show it. */
  open(session: Session): void {
    if (!this.snapshot.tabs.some(({ id }) => id === session.id)) {
      this.arrange(show(this.desk.layout, session.id, session.state === 'ended'));
    }
    this.activate(session.id);
    this.views.get(session.id)?.term.focus();
  }

  openId(id: string): void {
    const session = this.snapshot.sessions?.find(one => one.id === id);
    if (session) {
      this.open(session);
    }
  }

  private arrange(layout: Layout): void {
    if (this.desk.arrange(layout)) {
      this.set({});
      this.showViews();
    }
  }

  // Splits ----------------------------------------------------------------------------------------

  /** Sessions that are on the page at this moment. */
  get onPage(): readonly string[] {
    const { active, shown, narrow } = this.snapshot;
    return active === null || shown === null ? [] : narrow ? [active] : leaves(shown);
  }

  /** Show a session beside or below the active one; null: a new one. */
  async split(way: Way, id: string | null): Promise<void> {
    const { active, shown, sessions } = this.snapshot;
    if (active === null) {
      return;
    }
    if (shown !== null && leaves(shown).length >= MOST_PANES) {
      throw new ApiError('invalid', `A split has at most ${MOST_PANES} panes.`, 'Take one out of it first.');
    }
    if (id === null) {
      const made = await this.api.create(this.views.get(active)?.wish());
      this.taken(made, split(this.desk.layout, this.snapshot.tabs, active, made.id, way));
      return;
    }
    const ended = sessions?.find(one => one.id === id)?.state === 'ended';
    this.arrange(split(this.desk.layout, this.snapshot.tabs, active, id, way, ended));
    this.activate(id);
  }

  /** Give it the page for itself again; what shared the page with it stays shown. */
  unsplit(id: string): void {
    const { shown, active } = this.snapshot;
    const [beside] = shown === null ? [] : leaves(shown).filter(other => other !== id);
    this.arrange(unsplit(this.desk.layout, id));
    if (id === active && beside !== undefined) {
      this.activate(beside);
    }
  }

  resizeSplit(path: string, share: number): void {
    if (this.snapshot.active !== null) {
      this.arrange(resize(this.desk.layout, this.snapshot.active, path, share));
    }
  }

  /** The keyboard goes to the pane on that side; whether this page is split. */
  go(direction: Direction): boolean {
    const { active, shown } = this.snapshot;
    if (active === null || shown === null || typeof shown === 'string') {
      return false;
    }
    this.activate(beyond(shown, active, direction) ?? active);
    return true;
  }

  /** The pane after this one, or so many further. */
  cycle(by: number): void {
    const { active, shown } = this.snapshot;
    const panes = shown === null ? [] : leaves(shown);
    const at = panes.findIndex(id => id === active);
    this.activate(panes[(at + by + panes.length) % panes.length] ?? active);
  }

  /** Attach to what is shown, and tell each terminal whether it is seen. */
  private showViews(): void {
    const seen = document.visibilityState === 'visible';
    const shown = new Set(this.onPage);
    let made = false;
    for (const session of this.snapshot.sessions ?? []) {
      if (shown.has(session.id) && !this.views.has(session.id)) {
        const { facts, api } = this;
        this.views.set(session.id, new TerminalView(session, facts, api, this.snapshot.prefs, this.hostOf(session.id)));
        made = true;
      }
    }
    this.views.forEach((view, id) => view.setVisible(seen && shown.has(id)));
    if (made) {
      this.set({ turn: this.snapshot.turn + 1 });
    }
  }

  // Sessions --------------------------------------------------------------------------------------

  async create(wishes: { readonly name?: string; readonly cwd?: string }): Promise<void> {
    const view = this.snapshot.active === null ? undefined : this.views.get(this.snapshot.active);
    const made = await this.api.create({ ...wishes, ...view?.wish() });
    this.taken(made, show(this.desk.layout, made.id));
  }

  async restart(session: Session): Promise<void> {
    const { tabs } = this.snapshot;
    const made = await this.api.restart(session.id);
    this.taken(made, replace(this.desk.layout, tabs, session.id, made.id));
  }

  private taken(made: Session, layout: Layout): void {
    const others = (this.snapshot.sessions ?? []).filter(({ id }) => id !== made.id);
    this.set({ sessions: [...others, made] });
    this.arrange(layout);
    this.activate(made.id);
    void this.refresh();
  }

  async rename(session: Session, name: string): Promise<void> {
    await this.api.rename(session.id, name);
    await this.refresh();
  }

  /** End it with its programs; forget it when it has ended. */
  async end(session: Session): Promise<void> {
    this.close(session.id);
    try {
      await this.api.end(session.id);
    } finally {
      await this.refresh();
    }
  }

  async extend(id: string): Promise<void> {
    try {
      await this.api.extend(id, EXTEND);
      this.toast('The session was given more time.', false);
    } catch (error) {
      const { message, hint } = asError(error);
      this.toast(`${message} ${hint}`.trim(), true);
    }
  }

  async lockNow(): Promise<void> {
    try {
      await this.api.lock();
      this.watch.locked();
    } catch (error) {
      const { message, hint } = asError(error);
      this.toast(`${message} ${hint}`.trim(), true);
    }
  }

  /** Do it, and say it when it was not done; whether it was. */
  async say(work: Promise<void>): Promise<ApiError | null> {
    try {
      await work;
      return null;
    } catch (error) {
      return asError(error);
    }
  }

  // Small things ----------------------------------------------------------------------------------

  override setPrefs(more: Partial<Prefs>): void {
    super.setPrefs(more);
    this.views.forEach(view => view.apply(this.snapshot.prefs));
  }

  /** The person looked at what is to be pasted; null: it is not. */
  paste(text: string | null): void {
    const { paste } = this.snapshot;
    this.set({ paste: null });
    if (paste && text !== null) {
      paste.view.term.paste(text);
    }
    window.setTimeout(() => paste?.view.term.focus());
  }

  /** Whoever looks at it and has the keyboard in it sees it anyway. */
  private commandEnded(id: string, end: CommandEnd): void {
    const session = this.snapshot.sessions?.find(one => one.id === id);
    const seen = document.visibilityState === 'visible' && document.hasFocus();
    if (!session || this.snapshot.locked !== null || (seen && this.onPage.includes(id))) {
      return;
    }
    const text = endText(end, span(end.seconds));
    this.toast(`${session.name}: ${text}`, false, { what: 'show', session: id });
    if (document.visibilityState !== 'visible') {
      notify(session.name, text, id, () => this.open(session));
    }
  }

  private hostOf(id: string): Host {
    return {
      changed: () => this.set({ turn: this.snapshot.turn + 1 }),
      notice: ({ message, code }) =>
        this.toast(message, false, code === 'ttl' || code === 'max_age' ? { what: 'extend', session: id } : undefined),
      dropped: (size, reason) => this.toast(droppedText(size, reason), true),
      ended: () => {
        this.arrange(keep(this.desk.layout, id));
        void this.refresh();
      },
      locked: () => this.watch.locked(),
      risky: text => {
        const view = this.views.get(id);
        if (view) {
          this.set({ paste: { text, view } });
        }
      },
      key: event => this.onKey(event),
      focused: () => this.activate(id),
      mark: (data, isNew, what) => this.news.mark(id, data, isNew, what),
      cleared: () => this.news.lost(id)
    };
  }
}
