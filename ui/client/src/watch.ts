/** Finds out whether the workspace is locked: by hints of requests and sockets, and by asking. */

import { pause, readStatus, step, type Status } from './status.js';

/** As a page makes its requests. */
type Fetch = (input: RequestInfo, init?: RequestInit) => Promise<Response>;

/** Milliseconds in which several hints are one. */
const TOGETHER = 500;
/** Milliseconds after which a question is given up. */
const PATIENCE = 10_000;

/** Who acts on it. */
export interface Told {
  /** The workspace is locked: cover the page. */
  cover(status: Status): void;
  /** It is open again. */
  uncover(): void;
  /** While covered: what the server says now; null when it does not answer. */
  news(status: Status | null): void;
}

export class Watch {
  covered = false;
  private tries = 0;
  private timer: number | undefined;
  private asked = -Infinity;
  private asking = false;
  private waiting: Array<() => void> = [];

  /** `url` of the status; `fetch` as the browser made it, not one that waits for the lock to open. */
  constructor(
    private readonly url: string,
    private readonly fetch: Fetch,
    private readonly told: Told
  ) {}

  start(): void {
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') {
        this.soon();
      }
    });
    window.addEventListener('online', () => this.soon());
    window.addEventListener('pageshow', event => {
      if (event.persisted) {
        this.soon();
      }
    });
    this.later(0);
  }

  /** Something was refused or cut. While covered that is no news: the page tries to connect all the time. */
  hint(): void {
    if (!this.covered) {
      this.soon();
    }
  }

  private soon(): void {
    this.later(Math.max(0, TOGETHER - (performance.now() - this.asked)));
  }

  /** Somebody knows: a request was answered with 423, or a socket was closed with 4423. */
  locked(): void {
    if (!this.covered) {
      this.apply({ lock: 'locked', since: null, reason: '', hubReachable: null });
      this.soon();
    }
  }

  /** Resolves when the workspace is open; at once if it is. */
  async whenOpen(): Promise<void> {
    if (this.covered) {
      await new Promise<void>(resolve => this.waiting.push(resolve));
    }
  }

  private later(milliseconds: number): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.ask(), milliseconds);
  }

  private async ask(): Promise<void> {
    if (this.asking) {
      return; // its answer sets the next time
    }
    this.asking = true;
    this.asked = performance.now();
    const before = this.covered;
    let status: Status | null = null;
    try {
      const response = await this.fetch.call(null, this.url, {
        cache: 'no-store',
        credentials: 'same-origin',
        signal: AbortSignal.timeout(PATIENCE)
      });
      status = readStatus(response.status, await response.json());
    } catch {
      // No answer, or not a workspace's: `news` says it.
    } finally {
      this.asking = false;
    }
    if (before !== this.covered) {
      this.later(TOGETHER); // locked while it was asked: the answer may be older than that
      return;
    }
    this.apply(status);
    this.tries += 1;
    this.later(pause(this.covered, document.visibilityState === 'visible', this.tries));
  }

  private apply(status: Status | null): void {
    const what = step(this.covered, status);
    if (what === 'cover' && status !== null) {
      this.covered = true;
      this.tries = 0;
      this.told.cover(status);
    } else if (what === 'uncover') {
      this.covered = false;
      this.told.uncover();
      for (const resolve of this.waiting.splice(0)) {
        resolve();
      }
    } else if (this.covered) {
      this.told.news(status);
    }
  }
}
