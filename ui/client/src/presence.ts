/** What counts as somebody being there, and when the server is told. Pure: times and events come in. */

/** Milliseconds between two beacons: far below the shortest idle lock, which is a minute. */
export const BEACON_EVERY = 30_000;

/** What a person does to a page. `scroll` is not among them: output that scrolls does that, too. */
export const INPUT_EVENTS = ['keydown', 'pointerdown', 'pointermove', 'wheel', 'touchstart', 'touchmove'] as const;

/** The part of an event that is looked at. */
export interface InputLike {
  readonly type: string;
  readonly isTrusted: boolean;
  readonly repeat?: boolean;
  readonly screenX?: number;
  readonly screenY?: number;
}

/** Tells a person's input from what a page, or a thing that lies on the keyboard, makes of itself. */
export class Judge {
  private at: { x: number; y: number } | null = null;

  isPerson(event: InputLike): boolean {
    if (!event.isTrusted) {
      return false; // made by a script
    }
    if (event.type === 'keydown') {
      return event.repeat !== true;
    }
    if (event.type === 'pointermove') {
      // Browsers also send one when the page moves under a pointer that lies still. Where the pointer was
      // before the first one is not known, so that one proves nothing.
      const x = event.screenX ?? 0;
      const y = event.screenY ?? 0;
      const before = this.at;
      this.at = { x, y };
      return before !== null && (before.x !== x || before.y !== y);
    }
    return true;
  }
}

/** At most one beacon in `every` milliseconds, the first one at once; none without input. */
export class Throttle {
  private last = -Infinity;
  private pending = false;

  constructor(private readonly every = BEACON_EVERY) {}

  /** There was input at `now`. Whether to tell the server at once. */
  input(now: number): boolean {
    if (now - this.last < this.every) {
      this.pending = true;
      return false;
    }
    this.last = now;
    this.pending = false;
    return true;
  }

  /** The page goes away: whether there was input that the server has not been told of. */
  leave(): boolean {
    const pending = this.pending;
    this.pending = false;
    return pending;
  }
}
