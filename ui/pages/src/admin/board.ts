// What the panel knows: rows by key, and the lists that are made of them. Pure.

import type { BoardEvent, BoardRow, HubRow, OrphanRow, SessionRow, UserRow, WorkspaceRow } from './types';

/** A session with the workspace that it is in. */
export interface PlacedSession {
  readonly key: string;
  readonly session: SessionRow;
  readonly workspace: WorkspaceRow;
}

/** A user with their workspaces. */
export interface Person {
  readonly key: string;
  readonly user: UserRow;
  readonly running: number;
  readonly workspaces: number;
  readonly sessions: number;
}

/** A line of the table of workspaces: one of the hub's, or a container that the hub does not know. */
export type Place = WorkspaceRow | OrphanRow;

export const isOrphan = (place: Place): place is OrphanRow => place.key.startsWith('o:');

export interface Lists {
  /** Everything was received once. */
  readonly ready: boolean;
  readonly hub: HubRow | null;
  readonly places: readonly Place[];
  readonly sessions: readonly PlacedSession[];
  readonly people: readonly Person[];
}

export const EMPTY: Lists = { ready: false, hub: null, places: [], sessions: [], people: [] };

/** The rows after an event; the map is changed. */
export function merge(found: Map<string, BoardRow>, event: BoardEvent): Map<string, BoardRow> {
  if (event.whole) {
    found.clear();
  }
  for (const row of event.rows) {
    found.set(row.key, row);
  }
  for (const key of event.gone) {
    found.delete(key);
  }
  return found;
}

const placed = new WeakMap<WorkspaceRow, readonly PlacedSession[]>();

/** The sessions of one workspace; the same objects as long as it did not change. */
function sessionsOf(workspace: WorkspaceRow): readonly PlacedSession[] {
  let found = placed.get(workspace);
  if (!found) {
    found = workspace.sessions.map(session => ({ key: `${workspace.key}.${session.id}`, session, workspace }));
    placed.set(workspace, found);
  }
  return found;
}

export function listsOf(rows: ReadonlyMap<string, BoardRow>, ready: boolean): Lists {
  const places: Place[] = [];
  const sessions: PlacedSession[] = [];
  const counts = new Map<string, { running: number; workspaces: number; sessions: number }>();
  const users: UserRow[] = [];
  let hub: HubRow | null = null;
  for (const [key, row] of rows) {
    if (key.startsWith('w:')) {
      const workspace = row as WorkspaceRow;
      places.push(workspace);
      const count = counts.get(workspace.owner) ?? { running: 0, workspaces: 0, sessions: 0 };
      counts.set(workspace.owner, count);
      count.workspaces += 1;
      count.running += workspace.status === 'running' ? 1 : 0;
      count.sessions += workspace.sessions.length;
      sessions.push(...sessionsOf(workspace));
    } else if (key.startsWith('u:')) {
      users.push(row as UserRow);
    } else if (key.startsWith('o:')) {
      places.push(row as OrphanRow);
    } else {
      hub = row as HubRow;
    }
  }
  const none = { running: 0, workspaces: 0, sessions: 0 };
  const people = users.map(user => ({ key: user.key, user, ...(counts.get(user.user) ?? none) }));
  return { ready, hub, places, sessions, people };
}

/** What is shown of a place in one word. */
export type PlaceState = WorkspaceRow['status'] | 'locked' | 'silent' | 'orphan';

export function stateOf(place: Place): PlaceState {
  if (isOrphan(place)) {
    return 'orphan';
  }
  if (place.status !== 'running') {
    return place.status;
  }
  return place.answers === false ? 'silent' : place.locked ? 'locked' : 'running';
}

/** How a workspace is called: `user/name`, the default one by its owner alone. */
export const titleOf = (place: Pick<Place, 'owner' | 'name'>): string =>
  place.name ? `${place.owner}/${place.name}` : place.owner;
