/**
 * Hands output to an emulator, in order.
 *
 * An emulator parses later than it is written to, but changes its size or resets at once. So what changes it
 * waits until everything before was parsed, and what comes behind waits for that.
 */

import type { Event } from './events.js';

/** What shows the bytes: xterm.js, or a test. */
export interface Sink {
  /**
   * Parse these bytes; call `parsed` when that is done. Pieces are parsed in the order in which they came.
   * `offset`: the first byte's place in the stream; null: part of a keyframe, which recreates a screen.
   */
  write(data: Uint8Array, parsed: () => void, offset: number | null): void;
  /** Forget everything: screen, scrollback, modes. */
  reset(): void;
  /** The terminal has this size from here on. */
  resize?(rows: number, cols: number): void;
}

interface Piece {
  readonly data: Uint8Array;
  /** What to report as parsed; null: nothing yet (a keyframe goes on). */
  readonly offset: number | null;
  readonly generation: number;
  /** Where the piece of the stream begins whose queries may be answered; null: none may. */
  readonly start: number | null;
}

type Step = Piece | { readonly rows: number; readonly cols: number } | 'reset';

export class Feeder {
  /** Written, not parsed yet; the first is the one that is being parsed. */
  private written: Piece[] = [];
  private waiting: Step[] = [];

  /** `parsed(offset, generation)` is called as the machine wants it. */
  constructor(
    private readonly sink: Sink,
    private readonly parsed: (offset: number, generation: number) => void
  ) {}

  /** The piece of the stream that is being parsed, if it is one whose queries may be answered. */
  get current(): { readonly offset: number; readonly generation: number } | null {
    const first = this.written[0];
    return first?.start == null ? null : { offset: first.start, generation: first.generation };
  }

  /** Take an event; others than output, sizes and resets are left alone. */
  take(event: Event): void {
    switch (event.event) {
      case 'output': {
        const { data, offset, generation } = event;
        this.add({ data, offset: offset + data.length, generation, start: offset });
        break;
      }
      case 'keyframe_part': {
        const { data, offset, generation, last } = event;
        this.add({ data, offset: last ? offset : null, generation, start: null });
        break;
      }
      case 'set_size':
        this.add({ rows: event.rows, cols: event.cols });
        break;
      case 'clear_screen':
        // What was not shown yet would be wiped off at once. A size always follows a reset.
        this.waiting = [];
        this.add('reset');
        break;
      default:
    }
  }

  private add(step: Step): void {
    this.waiting.push(step);
    this.run();
  }

  private run(): void {
    for (;;) {
      const step = this.waiting[0];
      if (step === undefined || (this.written.length > 0 && (step === 'reset' || !('data' in step)))) {
        return;
      }
      this.waiting.shift();
      if (step === 'reset') {
        this.sink.reset();
      } else if ('data' in step) {
        this.write(step);
      } else {
        this.sink.resize?.(step.rows, step.cols);
      }
    }
  }

  private write(piece: Piece): void {
    const done = (): void => {
      if (this.written[0] !== piece) {
        return; // told twice
      }
      this.written.shift();
      if (piece.offset !== null) {
        this.parsed(piece.offset, piece.generation);
      }
      this.run();
    };
    this.written.push(piece);
    if (piece.data.length === 0) {
      done(); // an empty keyframe
    } else {
      this.sink.write(piece.data, done, piece.start);
    }
  }
}
