/** A page without a browser: its clock is turned by hand, its sockets end in a fake server. */

import { decodeClient, encode, type ClientMessage, type ServerMessage } from '../src/messages.js';
import type { Socket, Surroundings } from '../src/surroundings.js';

interface Timer {
  readonly at: number;
  readonly work: () => void;
}

/** The server's end of one socket. */
export class FakeSocket implements Socket {
  binaryType = 'blob';
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly texts: ClientMessage[] = [];
  readonly frames: Uint8Array[] = [];
  closed: number | null = null;

  constructor(
    readonly url: string,
    readonly protocol: string
  ) {}

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.closed !== null) {
      throw new Error('sent on a closed socket');
    }
    if (typeof data === 'string') {
      this.texts.push(decodeClient(data));
    } else {
      this.frames.push(data);
    }
  }
  close(code?: number): void {
    this.closed = code ?? 1005;
  }

  open(): void {
    this.onopen?.();
  }
  say(message: ServerMessage): void {
    this.onmessage?.({ data: encode(message) });
  }
  frame(frame: Uint8Array<ArrayBuffer>): void {
    this.onmessage?.({ data: frame.buffer });
  }
  cut(code = 1006, reason = ''): void {
    this.onclose?.({ code, reason });
  }
  /** Attach this client; the session is new. */
  attach(more: Partial<ServerMessage & { type: 'attached' }> = {}): void {
    this.open();
    this.say({
      type: 'attached',
      epoch: 'e1',
      start: 0,
      end: 0,
      input_ack: 0,
      answer_from: 0,
      responder: true,
      rows: 24,
      cols: 80,
      resumed: false,
      mode: 'rw',
      ...more
    });
    if (more.resumed !== true) {
      this.say({ type: 'reset', reason: 'fresh' });
    }
  }
}

export class World implements Surroundings {
  time = 0;
  sockets: FakeSocket[] = [];
  private timers = new Set<Timer>();
  private lookers = new Set<() => void>();

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (!last) {
      throw new Error('nobody connected');
    }
    return last;
  }
  get timersSet(): number {
    return this.timers.size;
  }
  get watched(): boolean {
    return this.lookers.size > 0;
  }

  open(url: string, protocol: string): Socket {
    const socket = new FakeSocket(url, protocol);
    this.sockets.push(socket);
    return socket;
  }
  now(): number {
    return this.time;
  }
  after(seconds: number, work: () => void): () => void {
    const timer = { at: this.time + Math.max(0, seconds), work };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }
  watch(look: () => void): () => void {
    this.lookers.add(look);
    return () => this.lookers.delete(look);
  }
  random(): number {
    return 0.5;
  }
  /** The page is looked at again, or the network came back. */
  look(): void {
    this.lookers.forEach(look => look());
  }

  /** Time goes by and timers ring. */
  pass(seconds: number): void {
    const end = this.time + seconds;
    for (;;) {
      const [next] = [...this.timers].sort((a, b) => a.at - b.at);
      if (!next || next.at > end) {
        this.time = end;
        return;
      }
      this.timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.work();
    }
  }
  /** Time goes by and nothing runs: a tab that sleeps. Then all timers that are due ring, once. */
  sleep(seconds: number): void {
    this.time += seconds;
    for (const timer of [...this.timers].filter(({ at }) => at <= this.time)) {
      this.timers.delete(timer);
      timer.work();
    }
  }
}
