/** What `api/status` says, and how often it is asked. Pure. */

/** WebSocket close code of a lock. */
export const CLOSED_BY_LOCK = 4423;
/** HTTP status of a lock. */
export const LOCKED = 423;

/** The answer, made safe. */
export interface Status {
  /** `unknown`: the server does not know, because its keeper does not answer. */
  readonly lock: 'open' | 'locked' | 'unknown';
  /** ISO time, of a locked workspace. */
  readonly since: string | null;
  /** Why, as a sentence; empty when the server does not tell. */
  readonly reason: string;
  /** Whether the hub answers; null when there is none. */
  readonly hubReachable: boolean | null;
}

/** Reads an answer; null when it is not one of a workspace (a proxy's error page, say). */
export function readStatus(httpStatus: number, body: unknown): Status | null {
  if (typeof body !== 'object' || body === null || (httpStatus !== 200 && httpStatus !== 503)) {
    return null;
  }
  const { locked, since, reason, hubReachable } = body as Record<string, unknown>;
  if (typeof locked !== 'boolean') {
    return null;
  }
  return {
    lock: httpStatus === 503 ? 'unknown' : locked ? 'locked' : 'open',
    since: typeof since === 'string' ? since : null,
    reason: typeof reason === 'string' ? reason : '',
    hubReachable: typeof hubReachable === 'boolean' ? hubReachable : null
  };
}

/** What the page does with an answer. */
export type Step = 'cover' | 'uncover' | 'stay';

/**
 * Only a clear word moves the cover. A server that does not answer (null), or does not know, neither covers an
 * open page (every restart would) nor uncovers a covered one.
 */
export function step(covered: boolean, status: Status | null): Step {
  if (status === null || status.lock === 'unknown') {
    return 'stay';
  }
  if (status.lock === 'locked') {
    return covered ? 'stay' : 'cover';
  }
  return covered ? 'uncover' : 'stay';
}

/** Milliseconds between two questions while the page is open and visible, and no hint comes. */
export const QUIET = 30_000;
/** While covered: the first and the longest pause. */
export const FIRST = 2_000;
export const LONGEST = 10_000;
/** Nobody sees the page: seldom; becoming visible asks at once. */
export const HIDDEN = 60_000;

/** Milliseconds until the next question. `tries`: questions asked since the cover came. */
export function pause(covered: boolean, visible: boolean, tries: number): number {
  if (!covered) {
    return visible ? QUIET : HIDDEN;
  }
  return Math.min(LONGEST, FIRST * 1.1 ** Math.max(0, tries));
}
