/**
 * What JupyterLab sends to its server while the workspace is locked.
 *
 * JupyterLab takes an answer that it does not expect for the end of things: a kernel that cannot be asked for is
 * "dead" and its connection is thrown away, a save that was refused raises a dialog. But what a lock refused was
 * not looked at by the server. So it waits here, and is sent again when the workspace is open: JupyterLab sees a
 * slow answer.
 */

import type { ServerConnection } from '@jupyterlab/services';

import { CLOSED_BY_LOCK, LOCKED } from '@persistent-terminal-hub/client';

/** As JupyterLab calls it. */
export type Fetch = ServerConnection.ISettings['fetch'];

/** What is told of a lock, and waited for. */
export interface Lock {
  /** The workspace is locked. */
  locked(): void;
  /** It may be. */
  hint(): void;
  whenOpen(): Promise<void>;
}

/** Close codes that say nothing of a lock. */
const NORMAL = new Set([1000, 1001]);

/** The same `fetch`, whose requests outlast a lock. */
export function patient(fetch: Fetch, lock: Lock): Fetch {
  return async (input, init) => {
    let request = new Request(input, init);
    for (;;) {
      // A body is read once; the copy is for the next time.
      const again = request.clone();
      const response = await fetch.call(null, request);
      if (response.status !== LOCKED) {
        return response;
      }
      lock.locked();
      await lock.whenOpen();
      request.signal.throwIfAborted();
      request = again;
    }
  };
}

/** A WebSocket that tells of its end. */
export function telling(Socket: typeof WebSocket, lock: Lock): typeof WebSocket {
  return class extends Socket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      this.addEventListener('close', event => {
        if (event.code === CLOSED_BY_LOCK) {
          lock.locked();
        } else if (!NORMAL.has(event.code)) {
          lock.hint(); // a refused handshake does not say why
        }
      });
    }
  };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** From now on JupyterLab's own requests and sockets go this way: all its managers share `settings`. */
export function install(settings: ServerConnection.ISettings, lock: Lock): void {
  const writable = settings as Writable<ServerConnection.ISettings>;
  writable.fetch = patient(settings.fetch, lock);
  writable.WebSocket = telling(settings.WebSocket, lock);
}
