/**
 * A client's end of `pth.v1`: keeps what was typed, knows what was shown, comes back by itself. Pure.
 *
 * The host calls a method for everything that happens (with the time in seconds of a clock that never goes
 * back) and does the returned events in order. It does so for one socket at a time: nothing of an old one after
 * `close_socket` or `closed`. The Python client is the same machine; `tests/vectors/pth.v1` holds both to it.
 */

import { afterClose, Code, LIMITS, ProtocolError, UnknownMessage, type Limits } from './codes.js';
import type { DropReason, Event, State, StateName } from './events.js';
import { Heartbeat } from './heartbeat.js';
import { InputQueue } from './input.js';
import { decodeServer, type Attached, type Mode, type ServerMessage } from './messages.js';
import { OutputState, type Own } from './output.js';

export interface StreamOptions {
  readonly rows: number;
  readonly cols: number;
  /** Returns numbers in [0, 1), and only spreads reconnects. */
  readonly random: () => number;
  readonly mode?: Mode;
  readonly visible?: boolean;
  readonly token?: string;
  readonly limits?: Limits;
}

interface Wish {
  readonly rows: number;
  readonly cols: number;
  readonly visible: boolean;
}

export class ClientStream {
  mode: Mode;
  state: State = { name: 'idle', since: 0, message: '' };
  readonly input: InputQueue;
  private readonly limits: Limits;
  private readonly random: () => number;
  private newestToken: string | undefined;
  private wish: Wish;
  private told: Wish;
  private focused = false;
  // The connection
  private socket: 'none' | 'opening' | 'attaching' | 'live' = 'none';
  private heart: Heartbeat | null = null;
  private connectBy = 0;
  private retryAt: number | null = null;
  private attempt = 0;
  private liveSince: number | null = null;
  private pings = 0;
  private readonly output: OutputState;

  /** `client`: 32 hexadecimal digits; may be changed while there is no connection. */
  constructor(
    public client: string,
    options: StreamOptions
  ) {
    this.mode = options.mode ?? 'rw';
    this.limits = options.limits ?? LIMITS;
    this.random = options.random;
    this.newestToken = options.token;
    this.wish = this.told = { rows: options.rows, cols: options.cols, visible: options.visible ?? true };
    this.input = new InputQueue(this.limits);
    this.output = new OutputState(this.limits);
  }

  /** The process whose output is shown; empty before the first. */
  get epoch(): string {
    return this.output.epoch;
  }

  /** Offset of the next byte; null while no screen is whole. */
  get offset(): number | null {
    return this.output.missing ? null : this.output.point.offset;
  }

  /** Behind the last byte that was printed before this client came, or came anew: what follows is news. */
  get known(): number | null {
    return this.output.known;
  }

  /** Behind the last byte that there was when the server answered last. */
  get end(): number | null {
    return this.output.end;
  }

  /** Nothing that was printed before this offset was shown since the screen began anew; null: not known. */
  get begin(): number | null {
    return this.output.begin;
  }

  /** What of the last keyframe is the output itself; null: nothing, or there was none. */
  get own(): Own | null {
    return this.output.own;
  }

  get token(): string | undefined {
    return this.newestToken;
  }

  // What the person and the page do ---------------------------------------------------------------

  /** Connect; also after `refused` when the reason may be gone. */
  start(now: number): Event[] {
    if (this.socket !== 'none' || this.state.name === 'ended') {
      return [];
    }
    this.attempt = 0;
    return [...this.become('connecting', now), ...this.connect(now)];
  }

  /** Leave on purpose; the session goes on. */
  stop(now: number): Event[] {
    const events: Event[] = this.socket === 'none' ? [] : [{ event: 'close_socket', code: Code.normal }];
    this.dropLine();
    this.retryAt = null;
    return this.state.name === 'ended' ? events : [...events, ...this.become('idle', now)];
  }

  /** Something suggests that the line changed: try now, or find out whether it is alive. */
  nudge(now: number): Event[] {
    if (this.socket === 'none' && this.retryAt !== null) {
      return this.connect(now);
    }
    if (this.socket === 'live' && this.heart !== null) {
      this.heart.probe(now);
      return [this.ping()];
    }
    return [];
  }

  /** The person typed or pasted. */
  type(data: Uint8Array): Event[] {
    if (data.length === 0) {
      return [];
    }
    const { name } = this.state;
    let reason: DropReason | null = null;
    if (name === 'locked' || name === 'ended' || name === 'refused') {
      reason = name;
    } else if (this.mode !== 'rw') {
      reason = 'read_only';
    } else if (!this.input.put(data)) {
      reason = 'full';
    }
    return reason === null ? this.flush() : [{ event: 'input_dropped', size: data.length, reason }];
  }

  /** The emulator answers a query that it found in the output at `offset`. */
  answer(data: Uint8Array, offset: number, generation: number): Event[] {
    return this.mayAnswer(offset, generation) && this.mode === 'rw' && this.input.put(data, true) ? this.flush() : [];
  }

  /** Whether a query whose last byte is at `offset` is this client's to answer, now. */
  mayAnswer(offset: number, generation: number): boolean {
    return this.output.mayAnswer(offset, generation);
  }

  /** The window has this size; the emulator gets its size by `set_size`, not from here. */
  resize(rows: number, cols: number): Event[] {
    this.wish = { ...this.wish, rows, cols };
    return this.tell();
  }

  setVisible(visible: boolean): Event[] {
    this.wish = { ...this.wish, visible };
    return this.tell();
  }

  focus(): Event[] {
    this.focused = true;
    return this.tell();
  }

  fetch(start: number, stop: number): Event[] {
    return this.socket === 'live' ? [{ event: 'send_text', message: { type: 'fetch', from: start, to: stop } }] : [];
  }

  /** A new token, for the next attach and for the live connection. */
  setToken(token: string | null): Event[] {
    this.newestToken = token ?? undefined;
    return token && this.socket === 'live' ? [{ event: 'send_text', message: { type: 'token', token } }] : [];
  }

  /** The emulator has parsed everything up to `offset`. */
  parsed(offset: number, generation: number, now: number): Event[] {
    return this.output.parsed(offset, generation, now) ? this.ack() : [];
  }

  // What the socket does --------------------------------------------------------------------------

  /** The WebSocket is open. */
  opened(_now: number): Event[] {
    if (this.socket !== 'opening') {
      return [];
    }
    this.socket = 'attaching';
    this.told = this.wish;
    const { rows, cols, visible } = this.wish;
    const token = this.newestToken === undefined ? {} : { token: this.newestToken };
    const { epoch, offset } = this.output.point;
    const { client, mode } = this;
    const input_seq = this.input.last;
    return [
      {
        event: 'send_text',
        message: { type: 'attach', client, rows, cols, epoch, offset, input_seq, visible, mode, ...token }
      }
    ];
  }

  /** It closed, or could not be opened (then 1006). */
  closed(code: number, now: number, reason = ''): Event[] {
    return this.socket === 'none' ? [] : this.lost(code, now, reason);
  }

  /** A frame from the server. */
  receive(frame: string | Uint8Array, now: number): Event[] {
    if (this.socket !== 'attaching' && this.socket !== 'live') {
      return [];
    }
    this.heart?.heard(now);
    try {
      return typeof frame === 'string' ? this.control(decodeServer(frame), now) : this.output.frame(frame);
    } catch (error) {
      if (error instanceof UnknownMessage) {
        return []; // the server may be newer than this client
      }
      if (error instanceof ProtocolError) {
        return [{ event: 'close_socket', code: error.code }, ...this.lost(Code.internal, now, error.message)];
      }
      throw error;
    }
  }

  /** When to call `tick` next; null: never. */
  get wakeAt(): number | null {
    if (this.socket === 'none') {
      return this.retryAt;
    }
    if (this.socket !== 'live' || this.heart === null) {
      return this.connectBy;
    }
    return Math.min(this.heart.due, this.output.ackAt ?? Infinity);
  }

  tick(now: number): Event[] {
    if (this.socket === 'none') {
      return this.retryAt !== null && now >= this.retryAt ? this.connect(now) : [];
    }
    if (this.socket !== 'live' || this.heart === null) {
      return now < this.connectBy ? [] : this.giveUp(now, 'The server did not answer.');
    }
    const events = this.output.ackAt !== null && now >= this.output.ackAt ? this.ack() : [];
    const verdict = this.heart.tick(now);
    if (verdict === 'dead') {
      return this.giveUp(now, 'Nothing was heard for too long.');
    }
    if (verdict === 'ping') {
      events.push(this.ping());
    }
    return events;
  }

  private control(message: ServerMessage, now: number): Event[] {
    const { output } = this;
    switch (message.type) {
      case 'input_ack':
        this.input.acked(message.seq);
        return this.flush();
      case 'ping':
        return [{ event: 'send_text', message: { type: 'pong', id: message.id } }];
      case 'attached':
        return this.attached(message, now);
      case 'reset':
        return output.reset(message);
      case 'keyframe':
        return output.keyframe(message);
      case 'size':
        return output.size(message);
      case 'responder':
        output.responder(message);
        return [];
      case 'fetched':
        return [{ event: 'fetch_done', start: message.from, stop: message.to }];
      case 'exit':
        return [{ event: 'ended', exit: message }, ...this.become('ended', now)];
      case 'locked':
        return [{ event: 'told', message }, ...this.become('locked', now, Code.locked, message.message)];
      case 'token':
        this.newestToken = message.token;
        return [{ event: 'told', message }];
      case 'error': {
        const events: Event[] = [{ event: 'told', message }];
        if (message.code === 'read_only') {
          this.mode = 'watch';
          events.push(...dropped(this.input.drop(), 'read_only'));
        }
        return events;
      }
      case 'title':
      case 'renamed':
      case 'notice':
      case 'unlocked':
        return [{ event: 'told', message }];
      case 'pong':
      case 'skipped': // counted from the keyframe's offset
        return [];
    }
  }

  private attached(message: Attached, now: number): Event[] {
    const events = this.output.attached(message);
    this.socket = 'live';
    this.liveSince = now;
    this.heart = new Heartbeat(this.limits, now);
    this.retryAt = null;
    const given = this.input.attached(message.epoch, message.input_ack);
    events.push(...dropped(given.dropped, given.restarted ? 'restarted' : 'forgotten'));
    if (message.mode !== this.mode) {
      this.mode = message.mode;
      events.push(...dropped(this.input.drop(), 'read_only'));
    }
    return [...this.become('live', now), ...events, ...this.tell(), ...this.flush()];
  }

  private connect(now: number): Event[] {
    this.socket = 'opening';
    this.retryAt = null;
    this.connectBy = now + this.limits.connectWithin;
    return [{ event: 'connect' }];
  }

  private giveUp(now: number, why: string): Event[] {
    return [{ event: 'close_socket', code: Code.timeout }, ...this.lost(Code.timeout, now, why)];
  }

  /** The line is gone; decide what comes next. */
  private lost(code: number, now: number, reason: string): Event[] {
    const { limits } = this;
    if (this.liveSince !== null && now - this.liveSince >= limits.stableAfter) {
      this.attempt = 0;
    }
    this.dropLine();
    let name: StateName = this.state.name === 'ended' ? 'ended' : afterClose(code);
    if (name === 'locked') {
      this.retryAt = now + limits.lockedRetry * (0.5 + this.random());
    } else if (name === 'reconnecting') {
      if (this.state.name === 'connecting' || this.state.name === 'locked') {
        name = this.state.name; // it was never live, or is still locked as far as anyone knows
      }
      const since = this.state.name === 'live' ? now : this.state.since;
      const longest = now - since < limits.early ? limits.retryEarly : limits.retryLate;
      const pause = Math.min(limits.retryFirst * 2 ** Math.min(this.attempt, 30), longest);
      this.attempt += 1;
      this.retryAt = now + pause * (0.5 + this.random() / 2);
    }
    return this.become(name, now, code, reason);
  }

  private dropLine(): void {
    this.socket = 'none';
    this.heart = null;
    this.liveSince = null;
    this.output.lost();
    this.input.lost();
  }

  /** Change the state; an outage or a lock keeps the time when it began. */
  private become(name: StateName, now: number, code?: number, message = ''): Event[] {
    if (name === this.state.name) {
      return [];
    }
    this.state = { name, since: now, ...(code === undefined ? {} : { code }), message };
    return [{ event: 'state_changed', state: this.state }];
  }

  /** Size, visibility and focus, if the server does not know them. */
  private tell(): Event[] {
    if (this.socket !== 'live') {
      return [];
    }
    const { rows, cols, visible } = this.wish;
    const before = this.told;
    this.told = this.wish;
    const events: Event[] = [];
    if (before.rows !== rows || before.cols !== cols) {
      events.push({ event: 'send_text', message: { type: 'resize', rows, cols } });
    }
    if (before.visible !== visible) {
      events.push({ event: 'send_text', message: { type: 'visible', visible } });
    }
    if (this.focused) {
      this.focused = false;
      events.push({ event: 'send_text', message: { type: 'focus' } });
    }
    return events;
  }

  private flush(): Event[] {
    if (this.socket !== 'live' || this.mode !== 'rw') {
      return [];
    }
    return this.input.ready().map(frame => ({ event: 'send_binary', frame }));
  }

  private ack(): Event[] {
    return [{ event: 'send_text', message: { type: 'ack', offset: this.output.acknowledge() } }];
  }

  private ping(): Event {
    this.pings += 1;
    return { event: 'send_text', message: { type: 'ping', id: this.pings } };
  }
}

function dropped(size: number, reason: DropReason): Event[] {
  return size ? [{ event: 'input_dropped', size, reason }] : [];
}
