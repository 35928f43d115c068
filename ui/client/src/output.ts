/** What a client has of the stream: which byte comes next, what was parsed, what is ours to answer. Pure. */

import { ProtocolError, type Limits } from './codes.js';
import type { ClearScreen, Event, Output, SetSize } from './events.js';
import { decodeOutput, Kind } from './frames.js';
import type { Attached, Keyframe, Reset, Responder, Size } from './messages.js';

const NOTHING = new Uint8Array(0);

/** From the byte at `place` of a keyframe on, it is the output itself from `offset` on. */
export interface Own {
  readonly place: number;
  readonly offset: number;
}

/** Queries from `start` up to, not including, `stop` are ours; null: from `start` on. */
interface Answers {
  readonly start: number;
  stop: number | null;
}

function sizeOf(message: { readonly rows: number; readonly cols: number }): SetSize {
  return { event: 'set_size', rows: message.rows, cols: message.cols };
}

/** Lives as long as the client; a connection begins with `attached` and ends with `lost`. */
export class OutputState {
  /** When what was parsed is to be acknowledged; null: there is nothing to. */
  ackAt: number | null = null;
  /** Behind the last byte that was printed before this client came, or came anew; null: it did not come yet. */
  known: number | null = null;
  /** The journal's end when the server answered last. */
  end: number | null = null;
  /** Nothing that was printed before this offset was shown since the screen began anew; null: not known. */
  begin: number | null = null;
  /** What of the last keyframe is the output itself; null: nothing, or there was none. */
  own: Own | null = null;
  private current = '';
  /** The next byte; null while no screen is whole. */
  private next: number | null = null;
  /** Everything before was shown, or announced as skipped. */
  private seen: { readonly epoch: string; readonly offset: number } | null = null;
  private generation = 0;
  /** What this connection's attach was answered with. */
  private offer: Attached | null = null;
  private resetDue = false;
  private announced: Keyframe | null = null;
  /** Bytes of the keyframe. */
  private got = 0;
  private done = 0;
  private acked = 0;
  /** A keyframe is acknowledged though no offset moved. */
  private ackForced = false;
  private answers: Answers[] = [];

  constructor(private readonly limits: Limits) {}

  /** Where to attach; no epoch when there is nothing to continue. */
  get point(): { readonly epoch: string; readonly offset: number } {
    return this.next === null ? { epoch: '', offset: 0 } : { epoch: this.current, offset: this.next };
  }

  /** The process whose output is shown; empty before the first. */
  get epoch(): string {
    return this.current;
  }

  /** Whether the screen is not whole yet: a reset or a keyframe is on its way. */
  get missing(): boolean {
    return this.next === null;
  }

  // The connection --------------------------------------------------------------------------------

  attached(message: Attached): Event[] {
    if (this.offer !== null) {
      throw new ProtocolError('attached came twice.');
    }
    if (message.resumed && (message.epoch !== this.current || (message.start ?? null) !== this.next)) {
      throw new ProtocolError('The server resumed at an offset that this client did not ask for.');
    }
    this.offer = message;
    this.answers = message.responder ? [{ start: message.answer_from, stop: null }] : [];
    this.resetDue = !message.resumed;
    this.end = message.end;
    this.known = message.resumed ? this.known : message.end;
    if (this.next !== null) {
      this.acked = this.next;
    }
    return message.resumed ? [sizeOf(message)] : [];
  }

  /** The connection is gone. A keyframe that did not come whole left no usable screen. */
  lost(): void {
    this.offer = this.announced = null;
    this.resetDue = this.ackForced = false;
    this.ackAt = null;
    // Answers that are not sent by now would come late, and be typed into whatever runs then.
    this.answers = [];
  }

  // What the server sends -------------------------------------------------------------------------

  /** The screen starts anew: from the first byte, or from the keyframe that follows. */
  reset(message: Reset): Event[] {
    const offer = this.offered();
    this.generation += 1;
    this.current = offer.epoch;
    this.next = this.announced = this.begin = this.own = null;
    this.done = this.acked = 0;
    this.ackAt = null;
    const cleared: ClearScreen = { event: 'clear_screen', reason: message.reason, generation: this.generation };
    const events: Event[] = [cleared];
    if (this.resetDue && offer.start !== undefined) {
      this.next = this.done = this.acked = this.begin = offer.start;
      this.see(offer.start);
      events.push(sizeOf(offer));
    }
    this.resetDue = false;
    return events;
  }

  /** A keyframe begins. */
  keyframe(message: Keyframe): Event[] {
    this.offered();
    if (this.next !== null || this.announced !== null || this.resetDue) {
      throw new ProtocolError('A keyframe without a reset before it.');
    }
    this.announced = message;
    this.begin = message.begin ?? null;
    const { offset, size, own = 0 } = message;
    this.own = own > 0 && own <= Math.min(size, offset) ? { place: size - own, offset: offset - own } : null;
    this.got = 0;
    return message.size ? [sizeOf(message)] : [sizeOf(message), ...this.part(message, NOTHING)];
  }

  /** The PTY's size changes at this place of the stream. */
  size(message: Size): Event[] {
    if (message.offset !== this.next) {
      throw new ProtocolError('A size that is not in the order of the stream.');
    }
    return [sizeOf(message)];
  }

  /** From here on queries are ours, or somebody else's. */
  responder(message: Responder): void {
    this.offered();
    const last = this.answers.at(-1);
    const open = last?.stop === null ? last : undefined;
    if (message.responder && !open) {
      this.answers.push({ start: message.from, stop: null });
    } else if (!message.responder && open) {
      open.stop = message.from;
    }
  }

  /** A binary frame. */
  frame(frame: Uint8Array): Event[] {
    const { kind, position, data } = decodeOutput(frame);
    if (kind === Kind.fetched) {
      this.offered();
      return [{ event: 'fetched_output', offset: position, data }];
    }
    if (kind === Kind.keyframe) {
      const keyframe = this.announced;
      if (keyframe === null || position !== this.got) {
        throw new ProtocolError('A part of a keyframe that was not announced or not in order.');
      }
      this.got += data.length;
      if (this.got > keyframe.size) {
        throw new ProtocolError('More of a keyframe than was announced.');
      }
      return this.part(keyframe, data);
    }
    const place = this.next;
    if (place === null || this.resetDue || this.offer === null) {
      throw new ProtocolError('Output before the screen that it belongs to.');
    }
    if (position > place) {
      throw new ProtocolError('Output is missing before this frame.');
    }
    if (position + data.length <= place) {
      return []; // the client has it
    }
    const payload = data.subarray(place - position);
    this.next = place + payload.length;
    this.see(this.next);
    return this.split(place, payload);
  }

  private part(keyframe: Keyframe, data: Uint8Array): Event[] {
    const { offset, size } = keyframe;
    const { generation } = this;
    if (this.got < size) {
      return [{ event: 'keyframe_part', data, offset, last: false, generation }];
    }
    const events: Event[] = [];
    if (this.seen !== null && this.seen.epoch === this.current && this.seen.offset < offset) {
      // Counted here and not taken from the server's word: a keyframe before may not have come whole.
      events.push({ event: 'skipped_output', start: this.seen.offset, stop: offset });
    }
    this.announced = null;
    this.next = this.done = this.acked = offset;
    this.see(offset);
    this.ackForced = true;
    events.push({ event: 'keyframe_part', data, offset, last: true, generation });
    return events;
  }

  /** Cut where `mayAnswer` changes, so that a host that knows only chunks decides rightly. */
  private split(offset: number, data: Uint8Array): Output[] {
    const { generation } = this;
    const end = offset + data.length;
    const cuts = new Set<number>();
    for (const { start, stop } of this.answers) {
      for (const cut of [start, stop]) {
        if (cut !== null && offset < cut && cut < end) {
          cuts.add(cut);
        }
      }
    }
    const outputs: Output[] = [];
    let start = offset;
    for (const stop of [...[...cuts].sort((a, b) => a - b), end]) {
      const piece = data.subarray(start - offset, stop - offset);
      outputs.push({ event: 'output', offset: start, data: piece, generation });
      start = stop;
    }
    return outputs;
  }

  private see(offset: number): void {
    if (this.seen === null || this.seen.epoch !== this.current || this.seen.offset < offset) {
      this.seen = { epoch: this.current, offset };
    }
  }

  private offered(): Attached {
    if (this.offer === null) {
      throw new ProtocolError('The first message of a server must be attached.');
    }
    return this.offer;
  }

  // What the emulator did -------------------------------------------------------------------------

  /** Parsed up to `offset`; whether to acknowledge at once. */
  parsed(offset: number, generation: number, now: number): boolean {
    if (generation !== this.generation || this.next === null) {
      return false;
    }
    this.done = Math.max(this.done, Math.min(offset, this.next));
    for (;;) {
      const first = this.answers[0];
      if (!first || first.stop === null || first.stop > this.done) {
        break;
      }
      this.answers.shift();
    }
    if (this.offer === null) {
      return false;
    }
    if (this.ackForced || this.done - this.acked >= this.limits.ackBytes) {
      return true;
    }
    if (this.ackAt === null && this.done > this.acked) {
      this.ackAt = now + this.limits.ackSeconds;
    }
    return false;
  }

  /** The offset to acknowledge now. */
  acknowledge(): number {
    this.ackAt = null;
    this.ackForced = false;
    this.acked = Math.max(this.acked, this.done);
    return this.acked;
  }

  /**
   * Whether a query whose last byte is at `offset` is ours.
   *
   * Output of an older generation may still wait in the emulator's queue; its offsets mean nothing now.
   */
  mayAnswer(offset: number, generation: number): boolean {
    return (
      generation === this.generation &&
      !this.resetDue &&
      this.answers.some(({ start, stop }) => start <= offset && (stop === null || offset < stop))
    );
  }
}
