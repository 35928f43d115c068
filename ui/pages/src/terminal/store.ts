/** What the page shows, for its components: one object that is replaced with every change. */

import { ApiError, type Session, type Status } from '@persistent-terminal-hub/client';

import { tabsOf, type Layout } from './layout.js';
import { keepPrefs, readPrefs, type Prefs } from './prefs.js';
import { only, treeOf, type Tree } from './splits.js';
import type { TerminalView } from './view.js';

export interface Toast {
  readonly id: number;
  readonly text: string;
  readonly bad: boolean;
  /** What can be done about it, with which session. */
  readonly offer?: { readonly what: 'extend' | 'show'; readonly session: string };
}
/** A window of fewer pixels shows one pane of a split. */
export const NARROW = 700;

export interface Snapshot {
  /** Null: not known yet. */
  readonly sessions: readonly Session[] | null;
  readonly tabs: readonly Session[];
  /** The session that has the keyboard. */
  readonly active: string | null;
  /** What shares the page with it. */
  readonly shown: Tree | null;
  /** Whether there is room for one pane only. */
  readonly narrow: boolean;
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

/** Milliseconds that a message stays which asks for nothing. */
const READ = 8_000;

export const asError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : new ApiError('invalid', 'This page made a mistake.', String(error));

export abstract class Store {
  protected readonly narrow = matchMedia(`(max-width: ${NARROW - 1}px)`);
  protected snapshot: Snapshot = {
    sessions: null,
    tabs: [],
    active: null,
    shown: null,
    narrow: this.narrow.matches,
    problem: null,
    asOf: 0,
    prefs: readPrefs(),
    locked: null,
    toasts: [],
    paste: null,
    turn: 0
  };
  private readonly listeners = new Set<() => void>();
  private toasts = 0;

  protected abstract get layout(): Layout;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };
  readonly get = (): Snapshot => this.snapshot;

  protected set(more: Partial<Snapshot>): void {
    this.snapshot = { ...this.snapshot, ...more };
    const { sessions, active } = this.snapshot;
    const tabs = sessions ? tabsOf(sessions, this.layout) : [];
    const shown =
      active === null ? null : only(treeOf(this.layout.splits, active), id => tabs.some(tab => tab.id === id));
    this.snapshot = { ...this.snapshot, tabs, shown };
    this.listeners.forEach(listener => listener());
  }

  setPrefs(more: Partial<Prefs>): void {
    const prefs = { ...this.snapshot.prefs, ...more };
    keepPrefs(prefs);
    this.set({ prefs });
  }

  toast(text: string, bad: boolean, offer?: Toast['offer']): void {
    const { toasts } = this.snapshot;
    if (toasts.some(one => one.text === text)) {
      return;
    }
    this.toasts += 1;
    const toast: Toast = { id: this.toasts, text, bad, ...(offer === undefined ? {} : { offer }) };
    this.set({ toasts: [...toasts.slice(-3), toast] });
    if (!bad && offer === undefined) {
      window.setTimeout(() => this.dismiss(toast.id), READ);
    }
  }

  dismiss(id: number): void {
    this.set({ toasts: this.snapshot.toasts.filter(one => one.id !== id) });
  }
}
