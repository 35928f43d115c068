/**
 * Notices when a command of a session ends. Pure.
 *
 * A shell that marks its prompts (OSC 133: A before the prompt, B behind it, C before a command's output, D with
 * its exit code behind it) says it exactly. Of any other session, the list of sessions says whether something else
 * than its shell is in the foreground.
 */

export interface CommandEnd {
  /** What ran, as far as it is known. */
  readonly what: string | null;
  readonly seconds: number;
  /** Null: not known. */
  readonly code: number | null;
}

/** Seconds by which a list of sessions may lag behind what the terminal has shown. */
const LAG = 2;

interface Running {
  /** Seconds; null: before this page came. */
  start: number | null;
  what: string | null;
  /** The shell has said that it began, and will say that it ends. */
  readonly marked: boolean;
}

export class CommandWatch {
  private running: Running | null = null;
  private ended = -Infinity;

  /**
   * A mark was parsed. `fresh`: it was printed while this page knew the session; others are history and tell nothing
   * that was not told before. `what`: the text between prompt and output, with a `C`.
   */
  mark(data: string, fresh: boolean, now: number, what: string | null = null): CommandEnd | null {
    const [kind = '', first = ''] = data.split(';');
    if (kind === 'C') {
      this.running = { start: fresh ? now : null, what, marked: true };
      return null;
    }
    if (kind === 'D' || kind === 'A') {
      return this.end(fresh, now, kind === 'D' && /^\d{1,3}$/.test(first) ? Number(first) : null);
    }
    return null;
  }

  /** What the list of sessions says. `busyFor` in seconds. */
  facts(busy: boolean, busyFor: number | null, program: string | null, now: number): CommandEnd | null {
    if (!busy) {
      // A loop of the shell itself is no other program, though it runs: its own mark ends it.
      return this.running?.marked === false ? this.end(true, now, null) : null;
    }
    const start = now - (busyFor ?? 0);
    if (this.running === null) {
      if (start > this.ended + LAG) {
        this.running = { start, what: program, marked: false };
      }
    } else {
      this.running.start ??= start;
      this.running.what ??= program;
    }
    return null;
  }

  /** The screen was made anew from a keyframe: marks may have been left out. */
  lost(): void {
    if (this.running) {
      this.running = { ...this.running, marked: false };
    }
  }

  private end(fresh: boolean, now: number, code: number | null): CommandEnd | null {
    const { running } = this;
    this.running = null;
    if (fresh) {
      this.ended = now;
    }
    return fresh && running?.start != null ? { what: running.what, seconds: now - running.start, code } : null;
  }
}

/** `make test` ended after 3 minutes, exit code 2. */
export function endText({ what, code }: CommandEnd, lasted: string): string {
  const how = code === null ? '' : code === 0 ? ', without an error' : `, with exit code ${code}`;
  return `${what ?? 'A command'} ended after ${lasted}${how}.`;
}
