/** A session while nobody looks at it: where that began, and what there is to read afterwards. */

import type { TerminalStream } from '@persistent-terminal-hub/client';
import type { IDecoration, IMarker, Terminal } from '@xterm/xterm';

import { amount, AWAY, keepLeft, leftOf, type Left } from './away.js';
import type { Landmarks } from './landmarks.js';

/** What came meanwhile. */
export interface Missed {
  readonly bytes: number;
  /** Milliseconds of the wall clock. */
  readonly left: number;
  readonly back: number;
}

/** Lines above the mark that are shown with it. */
const ABOVE = 4;

export const clock = (at: number): string =>
  new Date(at).toLocaleString([], {
    hour: '2-digit',
    minute: '2-digit',
    ...(Date.now() - at > 20 * 3_600_000 ? { day: 'numeric', month: 'short' } : {})
  });

/** What stands at the mark. `above`: bytes between the place where one left and the line; null: one left here. */
export const markText = (left: number, above: number | null): string =>
  above === null
    ? `You left here at ${clock(left)}`
    : `You left further up, at ${clock(left)}; ${amount(above)} of output came before this line`;

export class Absence {
  missed: Missed | null = null;
  /** Whether the mark is what is looked at. */
  jumped = false;
  /** Bytes between the place where one left and the mark, which no line shows any more; null: one left at the mark. */
  above: number | null = null;
  private left: Left | null;
  private back: number | null = null;
  private marker: IMarker | null = null;
  private decoration: IDecoration | null = null;

  constructor(
    private readonly id: string,
    private readonly term: Terminal,
    private readonly stream: TerminalStream,
    private readonly landmarks: Landmarks,
    private readonly changed: () => void
  ) {
    this.left = leftOf(id);
  }

  /** Whether the place where one left is still there to be looked at. */
  get marked(): boolean {
    return this.marker !== null && !this.marker.isDisposed && this.term.buffer.active.type === 'normal';
  }

  /** Nobody looks any more. `goes`: the terminal goes away as well. */
  leave(goes = false): void {
    const { epoch, offset } = this.stream;
    if (offset === null || this.back === null) {
      return; // nothing was shown yet, so nobody has left it
    }
    this.back = null;
    const left = { epoch, offset, at: Date.now() };
    keepLeft(this.id, left);
    if (!goes) {
      this.forget();
      this.left = left;
      this.place();
    }
  }

  /** Somebody looks. */
  come(): void {
    this.back = Date.now();
    this.count();
  }

  /** The server has answered, or the screen begins anew: what was missed may be known only now. */
  count(): void {
    const { left, back, stream } = this;
    if (left === null || back === null || stream.epoch !== left.epoch || back - left.at < AWAY) {
      return;
    }
    const bytes = Math.max(stream.offset ?? 0, stream.end ?? 0) - left.offset;
    if (bytes > 0) {
      this.missed = { bytes, left: left.at, back };
      this.paint();
      this.changed();
    }
  }

  /** Somebody types: what comes now is no longer what was missed. */
  settle(): void {
    if (this.back !== null) {
      this.left = null;
    }
  }

  /** The screen begins anew, and the mark is to be set when its place comes by again. */
  cleared(): void {
    this.unmark();
    this.place();
  }

  /** What recreates a screen was drawn: the place where one left may be above all that it shows. */
  drawn(): void {
    const { left, stream, term } = this;
    const { begin } = stream;
    if (left === null || begin === null || stream.offset === null || stream.epoch !== left.epoch || left.offset >= begin) {
      return;
    }
    const { active } = term.buffer;
    if (this.marker === null && active.type === 'normal') {
      const cursor = active.baseY + active.cursorY;
      let first = 0; // above the lines that were printed there may be empty ones
      while (first < cursor && active.getLine(first)?.translateToString(true) === '') {
        first += 1;
      }
      this.set(first - cursor, begin - left.offset);
    }
  }

  /** To the mark, or from there to the end. */
  jump(): boolean {
    const { marker, term } = this;
    if (!this.marked || marker === null) {
      return false;
    }
    this.jumped = !this.jumped;
    if (this.jumped) {
      term.scrollToLine(Math.max(0, marker.line - ABOVE));
    } else {
      term.scrollToBottom();
    }
    this.changed();
    return true;
  }

  /** It was read. */
  forget(): void {
    this.missed = null;
    this.jumped = false;
    this.left = null;
    this.unmark();
    this.changed();
  }

  private unmark(): void {
    this.decoration?.dispose();
    this.marker?.dispose();
    this.decoration = this.marker = this.above = null;
  }

  /** The mark, so many lines below the cursor. */
  private set(line: number, above: number | null): void {
    this.unmark();
    this.marker = this.term.registerMarker(line);
    this.above = above;
    this.paint();
    this.changed();
  }

  private place(): void {
    const { left, stream } = this;
    if (left === null || (stream.epoch !== '' && stream.epoch !== left.epoch)) {
      return;
    }
    this.landmarks.when(left.offset, () => {
      if (this.left === left && this.term.buffer.active.type === 'normal') {
        this.set(0, null);
      }
    });
  }

  /** A line across the terminal, with the time beside it. */
  private paint(): void {
    const { missed, marker, term } = this;
    if (missed === null || marker === null || marker.isDisposed || this.decoration !== null) {
      return;
    }
    const text = markText(missed.left, this.above);
    this.decoration = term.registerDecoration({
      marker,
      width: term.cols,
      overviewRulerOptions: { color: '#c4500a', position: 'full' }
    }) ?? null;
    this.decoration?.onRender(element => {
      element.className = `${element.className.replace(/ ?left-mark/g, '')} left-mark`;
      element.style.width = '100%';
      if (element.textContent !== text) {
        const label = document.createElement('span');
        label.textContent = text;
        element.replaceChildren(label);
      }
    });
  }
}
