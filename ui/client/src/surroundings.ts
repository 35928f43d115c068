/** What a connection needs of a browser, or of Node, or of a test in their place. */

/** The part of a WebSocket that is used. */
export interface Socket {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

export interface Surroundings {
  open(url: string, protocol: string): Socket;
  /** Seconds; never goes back, and goes on while the machine sleeps. */
  now(): number;
  /** Calls `work` after so many seconds, or later; returns what cancels it. */
  after(seconds: number, work: () => void): () => void;
  /** Calls `look` when the line may have changed or somebody looks again; returns what ends it. */
  watch(look: () => void): () => void;
  random(): number;
}

/** Milliseconds of both clocks. */
export interface Clocks {
  readonly steady: () => number;
  readonly wall: () => number;
}

/**
 * A clock of two. The steady one stands still in some browsers while the machine sleeps; the other one may be
 * set. Of each step the larger counts: a sleep is noticed, and a clock that is set back does no harm. One that
 * is set forward looks like a sleep, which costs one ping.
 */
export function clockOf({ steady, wall }: Clocks): () => number {
  let [steadyBefore, wallBefore, time] = [steady(), wall(), 0];
  return () => {
    const [steadyNow, wallNow] = [steady(), wall()];
    time += Math.max(0, steadyNow - steadyBefore, wallNow - wallBefore);
    [steadyBefore, wallBefore] = [steadyNow, wallNow];
    return time / 1000;
  };
}

/** The longest that a timer can wait. */
const LONGEST = 2 ** 31 - 1;

/** The page that this runs in, or Node. */
export function surroundings(): Surroundings {
  return {
    open: (url, protocol) => new WebSocket(url, protocol) as unknown as Socket,
    now: clockOf({ steady: () => performance.now(), wall: () => Date.now() }),
    after: (seconds, work) => {
      const timer = setTimeout(work, Math.min(Math.max(0, Math.ceil(seconds * 1000)), LONGEST));
      return () => clearTimeout(timer);
    },
    watch: watchPage,
    random: Math.random
  };
}

function watchPage(look: () => void): () => void {
  if (typeof window === 'undefined' || typeof document === 'undefined') {
    return () => undefined;
  }
  const seen = (): void => {
    if (document.visibilityState === 'visible') {
      look();
    }
  };
  const shown = (event: PageTransitionEvent): void => {
    if (event.persisted) {
      look(); // from the browser's cache of pages: its sockets are gone
    }
  };
  document.addEventListener('visibilitychange', seen);
  document.addEventListener('resume', look);
  window.addEventListener('online', look);
  window.addEventListener('pageshow', shown);
  return () => {
    document.removeEventListener('visibilitychange', seen);
    document.removeEventListener('resume', look);
    window.removeEventListener('online', look);
    window.removeEventListener('pageshow', shown);
  };
}
