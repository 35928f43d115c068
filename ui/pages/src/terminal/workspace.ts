/** Everything that the page knows, and does, outside its components. */

import {
  announcedIn,
  ApiError,
  fresh,
  listen,
  sentence,
  Watch,
  WorkspaceApi,
  type Session,
  type Status
} from '@persistent-terminal-hub/client';

import { xsrfOf, type Facts } from './facts.js';
import { EMPTY, hide, keep, move, readLayout, replace, same, show, tabsOf, type Layout } from './layout.js';
import { keepPrefs, readPrefs, type Prefs } from './prefs.js';
import { TerminalView, type Host } from './view.js';

/** Milliseconds between two looks at the sessions. */
const EVERY = { visible: 4_000, hidden: 60_000 } as const;
/** Milliseconds after a change of the layout before it is kept. */
const SETTLED = 400;
const EXTEND = 24 * 3600;

export interface Toast {
  readonly id: number;
  readonly text: string;
  readonly bad: boolean;
  /** A session that can be given more time. */
  readonly extend?: string;
}

export interface Snapshot {
  /** Null: not known yet. */
  readonly sessions: readonly Session[] | null;
  readonly tabs: readonly Session[];
  readonly active: string | null;
  /** Why the list could not be had; what is shown is older then. */
  readonly problem: ApiError | null;
  /** When the list was had last. */
  readonly asOf: number;
  readonly prefs: Prefs;
  /** Null: open. `status` null while locked: the workspace does not answer. */
  readonly locked: { readonly status: Status | null } | null;
  readonly toasts: readonly Toast[];
  /** A text that waits for a look before it is pasted. */
  readonly paste: { readonly text: string; readonly view: TerminalView } | null;
  /** Rises with every change of a terminal. */
  readonly turn: number;
}

const asError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : new ApiError('invalid', 'This page made a mistake.', String(error));

export class Workspace {
  readonly api: WorkspaceApi;
  readonly views = new Map<string, TerminalView>();
  onKey: (event: KeyboardEvent) => boolean = () => false;
  private snapshot: Snapshot;
  private layout: Layout = EMPTY;
  private readonly listeners = new Set<() => void>();
  private readonly watch: Watch;
  private timer = 0;
  private keeping = 0;
  private toasts = 0;
  private warned = new Set<string>();
  private asking = false;

  constructor(readonly facts: Facts) {
    this.api = new WorkspaceApi(facts.baseUrl, { xsrf: () => xsrfOf(facts) });
    this.snapshot = {
      sessions: null,
      tabs: [],
      active: null,
      problem: null,
      asOf: 0,
      prefs: readPrefs(),
      locked: null,
      toasts: [],
      paste: null,
      turn: 0
    };
    this.watch = new Watch(`${facts.baseUrl}persistent-terminals/api/status`, (input, init) => fetch(input, init), {
      cover: status => this.set({ locked: { status } }),
      uncover: () => this.opened(),
      news: status => this.set({ locked: { status } })
    });
  }

  // For React -------------------------------------------------------------------------------------

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };
  readonly get = (): Snapshot => this.snapshot;

  private set(more: Partial<Snapshot>): void {
    this.snapshot = { ...this.snapshot, ...more };
    const { sessions } = this.snapshot;
    this.snapshot = { ...this.snapshot, tabs: sessions ? tabsOf(sessions, this.layout) : [] };
    this.listeners.forEach(listener => listener());
  }

  // Life ------------------------------------------------------------------------------------------

  async start(): Promise<void> {
    this.watch.start();
    listen(
      leaving => void this.api.presence(leaving).catch(() => undefined),
      () => this.snapshot.locked !== null
    );
    document.addEventListener('visibilitychange', () => {
      this.showViews();
      if (document.visibilityState === 'visible') {
        void this.refresh();
      }
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.setPrefs({}));
    await this.refresh();
    const { tabs, active, problem } = this.snapshot;
    const wanted = decodeURIComponent(location.hash.slice(1));
    const first = tabs.find(({ id, name }) => id === wanted || name === wanted) ?? tabs[0];
    if (active === null && first) {
      this.activate(first.id);
    } else if (active === null && !problem && wanted === '' && this.snapshot.sessions?.length === 0) {
      await this.create({}); // nobody comes here to look at nothing
    }
  }

  async refresh(): Promise<void> {
    window.clearTimeout(this.timer);
    if (!this.asking && this.snapshot.locked === null) {
      this.asking = true;
      try {
        const [sessions, layout] = await Promise.all([this.api.list(), this.api.layout()]);
        if (this.keeping === 0) {
          this.layout = readLayout(layout);
        }
        this.set({ sessions, problem: null, asOf: Date.now() });
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
    for (const one of fresh(announcedIn(sessions), this.warned)) {
      this.toast(sentence(one), false, one.id);
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
    const session = this.snapshot.sessions?.find(one => one.id === id);
    if (session && !this.views.has(session.id)) {
      const { facts, api } = this;
      this.views.set(session.id, new TerminalView(session, facts, api, this.snapshot.prefs, this.hostOf(session.id)));
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
    this.arrange(move(this.layout, this.snapshot.tabs, id, by));
  }

  /** Close its tab; the session goes on. */
  close(id: string): void {
    const { tabs, active } = this.snapshot;
    const at = tabs.findIndex(tab => tab.id === id);
    const beside = tabs[at + 1] ?? tabs[at - 1];
    this.views.get(id)?.dispose();
    this.views.delete(id);
    this.arrange(hide(this.layout, id));
    if (active === id) {
      this.activate(beside?.id ?? null);
    }
  }

  /** Give a session a tab and show it. */
  open(session: Session): void {
    this.arrange(show(this.layout, session.id, session.state === 'ended'));
    this.activate(session.id);
  }

  private arrange(layout: Layout): void {
    if (same(layout, this.layout)) {
      return;
    }
    this.layout = layout;
    this.set({});
    window.clearTimeout(this.keeping);
    this.keeping = window.setTimeout(() => {
      void this.api
        .keepLayout(this.layout)
        .catch(error => this.toast(`The order of the tabs was not kept. ${asError(error).message}`, true))
        .finally(() => (this.keeping = 0));
    }, SETTLED);
  }

  private showViews(): void {
    const seen = document.visibilityState === 'visible';
    this.views.forEach((view, id) => view.setVisible(seen && id === this.snapshot.active));
  }

  // Sessions --------------------------------------------------------------------------------------

  async create(wishes: { readonly name?: string; readonly cwd?: string }): Promise<void> {
    const view = this.snapshot.active === null ? undefined : this.views.get(this.snapshot.active);
    const made = await this.api.create({ ...wishes, ...view?.wish() });
    await this.taken(made, show(this.layout, made.id));
  }

  async restart(session: Session): Promise<void> {
    const { tabs } = this.snapshot;
    const made = await this.api.restart(session.id);
    await this.taken(made, replace(this.layout, tabs, session.id, made.id));
  }

  private async taken(made: Session, layout: Layout): Promise<void> {
    const others = (this.snapshot.sessions ?? []).filter(({ id }) => id !== made.id);
    this.set({ sessions: [...others, made] });
    this.arrange(layout);
    this.activate(made.id);
    await this.refresh();
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

  setPrefs(more: Partial<Prefs>): void {
    const prefs = { ...this.snapshot.prefs, ...more };
    keepPrefs(prefs);
    this.views.forEach(view => view.apply(prefs));
    this.set({ prefs });
  }

  toast(text: string, bad: boolean, extend?: string): void {
    const { toasts } = this.snapshot;
    if (toasts.some(one => one.text === text)) {
      return;
    }
    this.toasts += 1;
    const toast: Toast = { id: this.toasts, text, bad, ...(extend === undefined ? {} : { extend }) };
    this.set({ toasts: [...toasts.slice(-3), toast] });
    if (!bad && extend === undefined) {
      window.setTimeout(() => this.dismiss(toast.id), 8_000);
    }
  }

  dismiss(id: number): void {
    this.set({ toasts: this.snapshot.toasts.filter(one => one.id !== id) });
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

  private hostOf(id: string): Host {
    return {
      changed: () => this.set({ turn: this.snapshot.turn + 1 }),
      notice: ({ message, code }) =>
        this.toast(message, false, code === 'ttl' || code === 'max_age' ? id : undefined),
      dropped: (size, reason) => this.toast(droppedText(size, reason), true),
      ended: () => {
        this.arrange(keep(this.layout, id));
        void this.refresh();
      },
      locked: () => this.watch.locked(),
      risky: text => {
        const view = this.views.get(id);
        if (view) {
          this.set({ paste: { text, view } });
        }
      },
      key: event => this.onKey(event)
    };
  }
}

const DROPPED: Readonly<Record<string, string>> = {
  restarted: 'the session was restarted, and this was for the program before',
  forgotten: 'the workspace was restarted, and it might have been typed twice',
  read_only: 'you only watch this session',
  full: 'too much waits to be sent already',
  locked: 'the workspace is locked',
  ended: 'the session has ended',
  refused: 'the session cannot be attached to'
};

function droppedText(size: number, reason: string): string {
  const what = size === 1 ? 'One typed byte was' : `${size} typed bytes were`;
  return `${what} not delivered: ${DROPPED[reason] ?? reason}.`;
}
