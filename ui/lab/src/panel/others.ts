/** The owner's other workspaces, as the hub tells of them through this one. */

import { Signal } from '@lumino/signaling';
import { ApiError, type OtherSession, type OtherWorkspace, type WorkspaceApi } from '@persistent-terminal-hub/client';

/** Milliseconds between two looks while somebody sees the list: each one asks every workspace. */
const EVERY = 15_000;

/** Where a session of it is shown. */
export function pageOf({ url }: OtherWorkspace, session: OtherSession | null = null): string {
  return `${url.endsWith('/') ? url : `${url}/`}persistent-terminals/${session ? `#${encodeURIComponent(session.id)}` : ''}`;
}

export class Others {
  /** Null: not known yet. */
  list: readonly OtherWorkspace[] | null = null;
  /** Why there is no newer list. */
  problem: ApiError | null = null;
  readonly changed = new Signal<this, void>(this);
  private timer = 0;

  constructor(
    private readonly api: WorkspaceApi,
    private readonly shown: () => boolean
  ) {}

  /** Ask, and go on asking while the list can be seen. */
  async refresh(): Promise<void> {
    window.clearTimeout(this.timer);
    if (!this.shown() || document.visibilityState !== 'visible') {
      this.timer = window.setTimeout(() => void this.refresh(), EVERY);
      return;
    }
    try {
      this.list = await this.api.elsewhere();
      this.problem = null;
    } catch (error) {
      this.problem = error instanceof ApiError ? error : new ApiError('invalid', String(error));
    }
    this.changed.emit();
    window.clearTimeout(this.timer); // another look may have been asked for meanwhile
    this.timer = window.setTimeout(() => void this.refresh(), EVERY);
  }
}
