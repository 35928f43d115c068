/** The sessions of this workspace as they were last heard of. */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Token } from '@lumino/coreutils';
import { Signal, type ISignal } from '@lumino/signaling';
import { ApiError, type Session, type WorkspaceApi } from '@persistent-terminal-hub/client';

import { apiOf } from '../terminal/manager.js';

/** Milliseconds between two looks: while somebody sees the list, or waits for one; and else. A hidden page asks not. */
const EVERY = { often: 4_000, seldom: 60_000 } as const;
/** Milliseconds after something changed: the server has to hear of it, too. */
const SOON = 400;

export class Sessions {
  /** Running ones, oldest first, then ended ones; null: not known yet. */
  list: readonly Session[] | null = null;
  /** Why there is no newer list. */
  problem: ApiError | null = null;
  /** When the list was had. */
  asOf = new Date(0);
  locked = false;
  private readonly signals = {
    changed: new Signal<this, void>(this),
    refused: new Signal<this, void>(this),
    failed: new Signal<this, void>(this)
  };
  private readonly lookers = new Set<() => boolean>();
  private timer = 0;
  private asking: Promise<void> | null = null;

  constructor(readonly api: WorkspaceApi) {}

  /** There is a newer list, or a reason why not. */
  get changed() {
    return {
      connect: (listener: (sessions: this) => void): void => void this.signals.changed.connect(() => listener(this))
    };
  }

  /** The workspace said that it is locked. */
  get refused(): ISignal<this, void> {
    return this.signals.refused;
  }

  /** It did not answer. */
  get failed(): ISignal<this, void> {
    return this.signals.failed;
  }

  start(): void {
    document.addEventListener('visibilitychange', () => void this.refresh());
    void this.refresh();
  }

  /** Whoever shows the list; `shown()` says whether it can be seen now. */
  look(shown: () => boolean): void {
    this.lookers.add(shown);
  }

  setLocked(locked: boolean): void {
    this.locked = locked;
    this.signals.changed.emit();
    if (!locked) {
      void this.refresh();
    }
  }

  /** Something has changed that who sees the list would like to see. */
  soon(): void {
    if (this.seen) {
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => void this.refresh(), SOON);
    }
  }

  /** Ask now; a hidden page only if it must. */
  async refresh(must = false): Promise<void> {
    this.asking ??= this.ask(must).finally(() => (this.asking = null));
    await this.asking;
  }

  private get seen(): boolean {
    return [...this.lookers].some(shown => shown());
  }

  private async ask(must: boolean): Promise<void> {
    window.clearTimeout(this.timer);
    if (document.visibilityState !== 'visible' && !must) {
      return; // becoming visible asks
    }
    if (!this.locked) {
      try {
        this.list = await this.api.list();
        this.problem = null;
        this.asOf = new Date();
      } catch (error) {
        this.problem = error instanceof ApiError ? error : new ApiError('invalid', String(error));
        (this.problem.kind === 'locked' ? this.signals.refused : this.signals.failed).emit();
      }
      this.signals.changed.emit();
    }
    const often = this.problem !== null || this.seen;
    this.timer = window.setTimeout(() => void this.refresh(), often ? EVERY.often : EVERY.seldom);
  }
}

export const ISessions = new Token<Sessions>('persistent-terminal-hub:ISessions', 'The sessions of this workspace.');

export const sessionsPlugin: JupyterFrontEndPlugin<Sessions> = {
  id: 'persistent-terminal-hub:sessions',
  description: 'Knows the sessions of this workspace.',
  autoStart: true,
  provides: ISessions,
  activate: app => {
    const sessions = new Sessions(apiOf(app.serviceManager.serverSettings));
    sessions.start();
    return sessions;
  }
};
