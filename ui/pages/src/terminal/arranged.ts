/** What the page shows of the sessions: tabs, splits, and a terminal for each session that was shown. */

import { WorkspaceApi, type Session } from '@persistent-terminal-hub/client';

import { Desk } from './desk.js';
import { xsrfOf, type Facts } from './facts.js';
import { hide, move, resize, show, unsplit, type Layout } from './layout.js';
import { beyond, leaves, type Direction } from './splits.js';
import { asError, Store } from './store.js';
import { TerminalView, type Host } from './view.js';

export abstract class Arranged extends Store {
  readonly api: WorkspaceApi;
  readonly views = new Map<string, TerminalView>();
  protected readonly desk: Desk;

  constructor(readonly facts: Facts) {
    super();
    this.api = new WorkspaceApi(facts.baseUrl, { xsrf: () => xsrfOf(facts) });
    this.desk = new Desk(this.api, error => this.toast(`The arrangement of the page was not kept. ${asError(error).message}`, true));
  }

  /** Who hears of what a terminal tells. */
  protected abstract hostOf(id: string): Host;

  protected override get layout(): Layout {
    return this.desk.layout;
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

  protected arrange(layout: Layout): void {
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
  protected showViews(): void {
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
}
