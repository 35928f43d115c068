/** Everything that the page knows, and does, outside its components. */

import {
  announcedIn,
  ApiError,
  fresh,
  listen,
  sentence,
  Watch,
  type Session
} from '@persistent-terminal-hub/client';

import { Arranged } from './arranged.js';
import { endText, type CommandEnd } from './commands.js';
import type { Facts } from './facts.js';
import { keep, replace, show, split, type Layout } from './layout.js';
import { News, notify } from './news.js';
import type { Prefs } from './prefs.js';
import { leaves, MOST_PANES, type Way } from './splits.js';
import { asError } from './store.js';
import type { Host } from './view.js';
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

export class Workspace extends Arranged {
  onKey: (event: KeyboardEvent) => boolean = () => false;
  private readonly news: News;
  private readonly watch: Watch;
  private timer = 0;
  private warned = new Set<string>();
  private asking = false;

  constructor(facts: Facts) {
    super(facts);
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
    // The dialog that closes gives the focus back, but not to what it still hides.
    window.setTimeout(() => this.views.get(this.snapshot.active ?? '')?.term.focus());
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

  protected override hostOf(id: string): Host {
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
