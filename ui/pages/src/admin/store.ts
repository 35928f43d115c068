// The board as the page sees it: follows the stream, tells React at most once a frame.

import { serviceBase } from '../common/place';
import type { Refusal } from './api';
import { EMPTY, listsOf, merge, type Lists } from './board';
import { follow } from './events';
import type { BoardEvent, BoardRow } from './types';

export interface Seen extends Lists {
  readonly live: boolean;
  readonly refusal: Refusal | null;
  /** Milliseconds since 1970 since when nothing new is known; null while connected. */
  readonly stale: number | null;
}

let rows = new Map<string, BoardRow>();
/** What begins anew is shown when it is whole; until then what was known stays. */
let coming: Map<string, BoardRow> | null = null;
let ready = false;
let seen: Seen = { ...EMPTY, live: false, refusal: null, stale: null };
let planned = false;
let changed = false;
const listeners = new Set<() => void>();

function publish(next: Partial<Seen>): void {
  seen = { ...seen, ...next };
  if (!planned) {
    planned = true;
    setTimeout(() => {
      planned = false;
      if (changed) {
        changed = false;
        seen = { ...seen, ...listsOf(rows, ready) };
      }
      listeners.forEach(listener => listener());
    }, 30);
  }
}

function take(event: BoardEvent): void {
  if (event.whole) {
    coming = new Map();
  }
  const merged = merge(coming ?? rows, event);
  if (event.more) {
    return;
  }
  rows = merged;
  coming = null;
  ready = changed = true;
  publish({});
}

export const snapshot = (): Seen => seen;

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function start(): () => void {
  return follow(`${serviceBase()}api/admin/events`, {
    event: event => event.name === 'board' && take(JSON.parse(event.data) as BoardEvent),
    state: (live, refusal) => {
      if (live !== seen.live || refusal !== seen.refusal) {
        publish({ live, refusal, stale: live ? null : (seen.stale ?? Date.now()) });
      }
    }
  });
}
