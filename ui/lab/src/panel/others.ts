/** The owner's other workspaces, as the hub tells of them through this one. */

import { Signal } from '@lumino/signaling';
import { ApiError, type WorkspaceApi } from '@persistent-terminal-hub/client';

/** Milliseconds between two looks while somebody sees the list: each one asks every workspace. */
const EVERY = 15_000;

export interface OtherSession {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  /** In words, such as `busy with python for 3 minutes`. */
  readonly text: string;
}
export interface OtherWorkspace {
  readonly name: string;
  readonly title: string;
  readonly url: string;
  readonly state: string;
  /** The state in words. */
  readonly badge: string;
  /** How many sessions there are; empty: it does not run. */
  readonly summary: string;
  readonly sessions: readonly OtherSession[];
}

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const list = (value: unknown): readonly Fields[] => (Array.isArray(value) ? value.map(fieldsOf) : []);
/** Nothing but a web address becomes a link. */
const link = (value: unknown): string => (/^(?:\/(?!\/)|https?:\/\/)/.test(text(value)) ? text(value) : '');

/** From the answer; what is no workspace is left out. Pure. */
export function readOthers(body: unknown): OtherWorkspace[] {
  return list(fieldsOf(body)['workspaces'])
    .filter(({ url }) => link(url) !== '')
    .map(({ name, title, url, state, badge, summary, sessions }) => ({
      name: text(name),
      title: text(title),
      url: link(url),
      state: text(state),
      badge: text(badge),
      summary: text(summary),
      sessions: list(sessions).map(({ id, name, state, text: words }) => ({
        id: text(id),
        name: text(name),
        state: text(state),
        text: text(words)
      }))
    }));
}

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
      this.list = readOthers(await this.api.ask('GET', 'elsewhere?no_track_activity=1'));
      this.problem = null;
    } catch (error) {
      this.problem = error instanceof ApiError ? error : new ApiError('invalid', String(error));
    }
    this.changed.emit();
    window.clearTimeout(this.timer); // another look may have been asked for meanwhile
    this.timer = window.setTimeout(() => void this.refresh(), EVERY);
  }
}
