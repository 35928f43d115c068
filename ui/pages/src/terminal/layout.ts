/** Which sessions have a tab, and in which order; kept in the workspace, the same on every device. Pure. */

import type { Session } from '@persistent-terminal-hub/client';

import { join, leave, leaves, put, readSplits, reshare, type Fork, type Way } from './splits.js';

export interface Layout {
  /** Ids of sessions in the order of their tabs. */
  readonly order: readonly string[];
  /** Running sessions whose tab was closed. */
  readonly hidden: readonly string[];
  /** Ended sessions whose tab stays, to be read. */
  readonly kept: readonly string[];
  /** Sessions that are shown together; absent in layouts of former pages. */
  readonly splits: readonly Fork[];
}

export const EMPTY: Layout = { order: [], hidden: [], kept: [], splits: [] };
/** Ids of each kind that are kept: the newest. */
const MOST = 300;

const ids = (value: unknown): string[] =>
  Array.isArray(value) ? [...new Set(value.filter(one => typeof one === 'string' && one.length <= 64))].slice(-MOST) : [];

export function readLayout(value: unknown): Layout {
  const { order, hidden, kept, splits } = (value ?? {}) as Record<string, unknown>;
  return { order: ids(order), hidden: ids(hidden), kept: ids(kept), splits: readSplits(splits) };
}

/** The sessions that have a tab, in order: a new one comes last. */
export function tabsOf(sessions: readonly Session[], layout: Layout): Session[] {
  const place = new Map(layout.order.map((id, at) => [id, at]));
  const hidden = new Set(layout.hidden);
  const kept = new Set(layout.kept);
  return sessions
    .filter(({ id, state }) => (state === 'ended' ? kept.has(id) : !hidden.has(id)))
    .map((session, at) => ({ session, at: place.get(session.id) ?? MOST + at }))
    .sort((a, b) => a.at - b.at)
    .map(({ session }) => session);
}

const without = (list: readonly string[], id: string): string[] => list.filter(one => one !== id);

/** Close a tab; its session goes on. */
export function hide(layout: Layout, id: string): Layout {
  return {
    order: without(layout.order, id),
    hidden: [...without(layout.hidden, id), id],
    kept: without(layout.kept, id),
    splits: leave(layout.splits, id)
  };
}

/** Give a session a tab. `ended`: to be read. */
export function show(layout: Layout, id: string, ended = false): Layout {
  return {
    ...layout,
    order: [...without(layout.order, id), id],
    hidden: without(layout.hidden, id),
    kept: ended ? [...without(layout.kept, id), id] : layout.kept
  };
}

/** Move a tab by so many places. */
export function move(layout: Layout, tabs: readonly Session[], id: string, by: number): Layout {
  const order = tabs.map(session => session.id);
  const from = order.indexOf(id);
  if (from < 0) {
    return layout;
  }
  order.splice(from, 1);
  order.splice(Math.max(0, Math.min(order.length, from + by)), 0, id);
  return { ...layout, order };
}

/** A session was started anew: its tab stays where it is. */
export function replace(layout: Layout, tabs: readonly Session[], from: string, to: string): Layout {
  const order = tabs.map(({ id }) => (id === from ? to : id));
  return {
    order: order.includes(to) ? order : [...order, to],
    hidden: layout.hidden,
    kept: without(layout.kept, from),
    splits: layout.splits.map(tree => put(tree, from, to) as Fork)
  };
}

/** Keep the tab of a session that was seen to end. */
export function keep(layout: Layout, id: string): Layout {
  return layout.kept.includes(id) ? layout : { ...layout, kept: [...layout.kept, id] };
}

/** Show `id` beside or below `at`; its tab comes next to that one's. `ended`: it is there to be read. */
export function split(layout: Layout, tabs: readonly Session[], at: string, id: string, way: Way, ended = false): Layout {
  const splits = join(layout.splits, at, id, way);
  const shown = tabs.some(tab => tab.id === id) ? layout : show(layout, id, ended);
  const order = without(tabs.map(tab => tab.id), id);
  order.splice(order.indexOf(at) + 1, 0, id);
  return { ...shown, order, splits };
}

/** Give a session of a split the page for itself again. */
export const unsplit = (layout: Layout, id: string): Layout => ({ ...layout, splits: leave(layout.splits, id) });

/** Another share for an edge of the split that has `id`. */
export function resize(layout: Layout, id: string, path: string, share: number): Layout {
  return layout.splits.some(tree => leaves(tree).includes(id))
    ? { ...layout, splits: reshare(layout.splits, id, path, share) }
    : layout;
}

export const same = (a: Layout, b: Layout): boolean => JSON.stringify(a) === JSON.stringify(b);
