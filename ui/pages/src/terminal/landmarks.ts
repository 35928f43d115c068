/** Tells when the emulator stands at a place of the stream: between the emulator and whoever feeds it. */

import type { Own, Sink } from '@persistent-terminal-hub/client';

const NOTHING = new Uint8Array(0);

interface Wanted {
  readonly offset: number;
  readonly reached: () => void;
}

export class Landmarks {
  readonly sink: Sink;
  private wanted: Wanted[] = [];
  /** Where each piece begins that is written and not parsed; null: it recreates a screen. */
  private pieces: Array<number | null> = [];
  /** Behind the last byte that was written; null: none was. */
  private next: number | null = null;

  /** Bytes of what recreates a screen that were written. */
  private got = 0;

  /**
   * `cleared`: the screen begins anew. `drawn`: a piece of what recreates one is parsed. `own`: what of that is
   * the output itself.
   */
  constructor(
    to: Sink,
    cleared: () => void,
    private readonly drawn: () => void = () => undefined,
    private readonly own: () => Own | null = () => null
  ) {
    this.sink = {
      write: (data, parsed, offset) => this.write(to, data, parsed, offset),
      reset: () => {
        this.next = null;
        this.got = 0;
        cleared();
        to.reset();
      },
      resize: (rows, cols) => to.resize?.(rows, cols)
    };
    this.empty = reached => to.write(NOTHING, reached, null);
  }

  private readonly empty: (reached: () => void) => void;

  /** Where the piece begins that is being parsed; null: it is not a piece of the stream. */
  get at(): number | null {
    return this.pieces[0] ?? null;
  }

  /** Call `reached` once, when everything before `offset` is parsed and nothing behind it. */
  when(offset: number, reached: () => void): void {
    if (offset === this.next) {
      this.empty(reached);
    } else if (this.next === null || offset > this.next) {
      this.wanted.push({ offset, reached });
    }
  }

  private write(to: Sink, data: Uint8Array, parsed: () => void, offset: number | null): void {
    const one = (piece: Uint8Array, at: number | null, done: () => void): void => {
      this.pieces.push(at);
      to.write(
        piece,
        () => {
          this.pieces.shift();
          done();
        },
        at
      );
    };
    const own = offset === null ? this.own() : null;
    const begin = offset ?? (own === null ? null : own.offset - own.place + this.got);
    const done = (): void => {
      parsed();
      if (offset === null) {
        this.drawn();
      }
    };
    if (offset === null) {
      this.got += data.length;
    } else {
      this.next = offset + data.length;
    }
    if (begin === null) {
      one(data, null, done);
      return;
    }
    const first = Math.max(begin, own?.offset ?? begin);
    const end = begin + data.length;
    const within = this.wanted.filter(wanted => first <= wanted.offset && wanted.offset <= end);
    this.wanted = this.wanted.filter(wanted => (offset === null ? !within.includes(wanted) : wanted.offset > end));
    const cuts = [...new Set(within.map(wanted => wanted.offset))].sort((a, b) => a - b);
    const tell = (cut: number): void => within.filter(wanted => wanted.offset === cut).forEach(({ reached }) => reached());
    const at = (place: number): number | null => (offset === null ? null : place);
    let start = begin;
    for (const cut of cuts) {
      if (cut === start) {
        this.empty(() => tell(cut));
      } else if (cut < end) {
        one(data.subarray(start - begin, cut - begin), at(start), () => tell(cut));
        start = cut;
      }
    }
    one(data.subarray(start - begin), at(start), () => {
      if (cuts.includes(end) && end !== begin) {
        tell(end);
      }
      done();
    });
  }
}
