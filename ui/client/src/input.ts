/** What a person typed, kept until the keeper has it. Pure. */

import type { Limits } from './codes.js';
import { encodeInput } from './frames.js';

interface Piece {
  seq: number;
  data: Uint8Array;
  /** The emulator's answer to a query: useless, even harmful, when it comes late. */
  readonly answer: boolean;
}

const NOTHING = new Uint8Array(0);

/**
 * Numbers input, sends a bounded part of it ahead, keeps it until it is acknowledged.
 *
 * Numbers rise by one and none is left out: the keeper takes a gap for a loss. What is not worth sending again
 * keeps its number and loses its bytes.
 */
export class InputQueue {
  /** The highest number ever used. */
  last = 0;
  private pieces: Piece[] = [];
  private bytes = 0;
  private sent = 0;
  private sentBytes = 0;
  /** The process that all of it was typed for. */
  private epoch: string | null = null;
  private acknowledged = 0;

  constructor(private readonly limits: Limits) {}

  /** Bytes that are not acknowledged. */
  get kept(): number {
    return this.bytes;
  }

  /** Take input; false if there is no room to keep it. */
  put(data: Uint8Array, answer = false): boolean {
    if (this.bytes + data.length > this.limits.inputKept) {
      return false;
    }
    for (let at = 0; at < data.length; at += this.limits.inputFrame) {
      this.last += 1;
      // A copy: the caller may use its buffer again, and this one is kept through every cut.
      this.pieces.push({ seq: this.last, data: data.slice(at, at + this.limits.inputFrame), answer });
    }
    this.bytes += data.length;
    return true;
  }

  /** Frames that may be sent now. */
  ready(): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    for (;;) {
      const piece = this.pieces[this.sent];
      if (!piece || (this.sentBytes && this.sentBytes + piece.data.length > this.limits.inputWindow)) {
        return frames;
      }
      this.sent += 1;
      this.sentBytes += piece.data.length;
      frames.push(encodeInput(piece.seq, piece.data));
    }
  }

  /** The keeper has everything up to `seq`. */
  acked(seq: number): void {
    this.acknowledged = Math.max(this.acknowledged, seq);
    let count = 0;
    for (const piece of this.pieces) {
      if (piece.seq > seq) {
        break;
      }
      count += 1;
      this.bytes -= piece.data.length;
      if (count <= this.sent) {
        this.sentBytes -= piece.data.length;
      }
    }
    this.pieces.splice(0, count);
    this.sent = Math.max(0, this.sent - count);
  }

  /** The connection is gone: all that is kept will be sent again, except answers. */
  lost(): void {
    this.sent = this.sentBytes = this.bytes = 0;
    for (const piece of this.pieces) {
      if (piece.answer) {
        piece.data = NOTHING;
      }
      this.bytes += piece.data.length;
    }
  }

  /**
   * A new connection; the keeper has `seq`. Returns the bytes dropped, and whether for a new epoch.
   *
   * Input is dropped when it was typed for a process that is gone, and when the keeper does not know any more,
   * or knows from somebody else, what it has of this client: then sending again could double it.
   */
  attached(epoch: string, seq: number): { readonly dropped: number; readonly restarted: boolean } {
    let dropped = 0;
    let restarted = false;
    if (this.epoch === null) {
      // First attach of this instance: nothing was sent yet. A page that was reloaded goes on above the
      // numbers of the one before.
      this.last = this.acknowledged = seq;
      for (const piece of this.pieces) {
        this.last += 1;
        piece.seq = this.last;
      }
    } else if (this.epoch !== epoch) {
      restarted = true;
      dropped = this.drop();
    } else if (seq < this.acknowledged || seq > this.last) {
      dropped = this.drop();
    } else {
      this.acked(seq);
    }
    this.epoch = epoch;
    this.acknowledged = restarted ? seq : Math.max(this.acknowledged, seq);
    // Go on behind what the keeper has; a keeper that knows nothing of this client takes any number first.
    this.last = restarted && seq ? seq : Math.max(this.last, seq);
    return { dropped, restarted };
  }

  /** Give everything up; returns how many bytes. */
  drop(): number {
    const dropped = this.bytes;
    this.pieces = [];
    this.bytes = this.sent = this.sentBytes = 0;
    return dropped;
  }
}
