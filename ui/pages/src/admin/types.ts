// The rows of the board, as `api/admin/events` sends them (control/board_rows.py). Moments are seconds since 1970.

export interface SessionRow {
  readonly id: string;
  readonly name: string;
  readonly state: 'active' | 'dormant' | 'locked';
  readonly created: number;
  readonly busySince: number | null;
  /** MiB; 0: not known. */
  readonly memory: number;
}

export interface WorkspaceRow {
  readonly key: string;
  readonly id: string;
  readonly owner: string;
  readonly name: string;
  readonly display: string;
  readonly status: 'creating' | 'starting' | 'running' | 'stopping' | 'stopped' | 'deleting';
  readonly started: string | null;
  readonly lastActivity: string | null;
  /** null: it was not asked yet, or does not run. */
  readonly answers: boolean | null;
  readonly silentSince: number | null;
  readonly locked: boolean | null;
  /** Who asked the owner to unlock it, as a sentence; empty: nobody. */
  readonly asked: string;
  readonly presence: number | null;
  readonly kernelBusy: boolean;
  readonly sessions: readonly SessionRow[];
}

export interface UserRow {
  readonly key: string;
  readonly user: string;
  readonly admin: boolean;
  readonly groups: readonly string[];
  readonly lastActivity: string | null;
}

export interface OrphanRow {
  readonly key: string;
  readonly owner: string;
  readonly name: string;
  readonly container: string;
  readonly paused: boolean;
  readonly userKnown: boolean;
  readonly deleted: boolean;
}

export interface HubRow {
  readonly key: string;
  readonly answers: boolean;
  readonly since: number;
}

export type BoardRow = WorkspaceRow | UserRow | OrphanRow | HubRow;

export interface BoardEvent {
  readonly rows: readonly BoardRow[];
  readonly gone: readonly string[];
  /** It begins anew: what was known before counts no more. */
  readonly whole: boolean;
  /** The rest follows. */
  readonly more: boolean;
}
