/**
 * The host of a `ClientStream`: one WebSocket at a time, its timer, and whoever wants the events.
 *
 * It never gives up by itself: the machine decides when to try again, this file only does it.
 */

import { Code, SUBPROTOCOL } from './codes.js';
import type { Event, State } from './events.js';
import { encode } from './messages.js';
import type { ClientStream } from './stream.js';
import { surroundings, type Socket, type Surroundings } from './surroundings.js';

/** Seconds between two attempts that the page asks for, however often it is told that the line changed. */
const FLOOR = 0.5;
/** Seconds by which a timer may come early before it is not worth waiting for. */
const SHORT = 0.001;

export class Connection {
  private socket: Socket | null = null;
  private events: Event[] = [];
  private working = false;
  private cancel: (() => void) | null = null;
  private due = Infinity;
  private unwatch: (() => void) | null = null;
  private nudged = -Infinity;
  /** When anything was last heard. */
  private heard = 0;
  private began = 0;

  /** `handle` is told of all that happens, after this class has done its part. */
  constructor(
    private readonly url: string,
    readonly stream: ClientStream,
    private readonly handle: (event: Event) => void,
    private readonly around: Surroundings = surroundings()
  ) {}

  get now(): number {
    return this.around.now();
  }

  /** Since when it is as it is. A line that fell silent was lost when it was last heard. */
  get since(): Date {
    return new Date(Date.now() - Math.max(0, this.now - this.began) * 1000);
  }

  start(): void {
    this.unwatch ??= this.around.watch(() => this.look());
    this.do(this.stream.start(this.now));
  }

  stop(): void {
    this.unwatch?.();
    this.unwatch = null;
    this.do(this.stream.stop(this.now));
  }

  /** Try at once, or find out whether the line is alive. */
  nudge(): void {
    this.do(this.stream.nudge(this.now));
  }

  /** Do what the machine wants, in order, also when doing one thing makes it want more. */
  do(events: readonly Event[]): void {
    this.events.push(...events);
    if (this.working) {
      return;
    }
    this.working = true;
    try {
      for (let event = this.events.shift(); event; event = this.events.shift()) {
        this.one(event);
        this.handle(event);
      }
    } finally {
      this.working = false;
    }
    this.schedule();
  }

  private look(): void {
    const now = this.now;
    if (now - this.nudged >= FLOOR) {
      this.nudged = now;
      this.do(this.stream.nudge(now));
    }
  }

  private one(event: Event): void {
    switch (event.event) {
      case 'connect':
        this.open();
        break;
      case 'close_socket':
        this.leave(event.code);
        break;
      case 'send_text':
        this.socket?.send(encode(event.message));
        break;
      case 'send_binary':
        this.socket?.send(event.frame);
        break;
      case 'state_changed':
        this.began = this.beginOf(event.state);
        break;
      default:
    }
  }

  private beginOf(state: State): number {
    return state.name === 'reconnecting' && state.code === Code.timeout ? this.heard : state.since;
  }

  private open(): void {
    this.leave(Code.normal);
    let socket: Socket;
    try {
      socket = this.around.open(this.url, SUBPROTOCOL);
    } catch {
      // Not here and now (a page that is being left, an address that is none): as a line that broke.
      this.do(this.stream.closed(Code.broken, this.now));
      return;
    }
    this.socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.do(this.stream.opened(this.now));
    socket.onmessage = ({ data }) => {
      this.heard = this.now;
      if (typeof data === 'string') {
        this.do(this.stream.receive(data, this.heard));
      } else if (data instanceof ArrayBuffer) {
        this.do(this.stream.receive(new Uint8Array(data), this.heard));
      }
    };
    socket.onclose = ({ code, reason }) => {
      this.forget();
      this.do(this.stream.closed(code, this.now, reason));
    };
    socket.onerror = () => undefined; // its close follows
  }

  /** Nothing of the old socket is heard from here on. */
  private forget(): Socket | null {
    const { socket } = this;
    this.socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => undefined;
    }
    return socket;
  }

  private leave(code: number): void {
    try {
      this.forget()?.close(code);
    } catch {
      // It was never open; whatever it is, nobody listens to it any more.
    }
  }

  private schedule(): void {
    const wake = this.stream.wakeAt;
    if (wake === null) {
      this.cancel?.();
      this.cancel = null;
      this.due = Infinity;
      return;
    }
    // A timer that comes too early looks again; making a new one for every byte would cost more.
    if (this.cancel !== null && this.due <= wake) {
      return;
    }
    this.cancel?.();
    this.due = wake;
    this.cancel = this.around.after(wake - this.now, () => this.ring());
  }

  private ring(): void {
    this.cancel = null;
    this.due = Infinity;
    const { now } = this;
    const wake = this.stream.wakeAt;
    this.do(wake !== null && wake <= now + SHORT ? this.stream.tick(Math.max(now, wake)) : []);
  }
}
