/** Is the other side still there? Pure. */

import type { Limits } from './codes.js';

/** A ping every few seconds; dead when nothing at all was heard for too long. */
export class Heartbeat {
  private nextPing: number;
  private deadAt: number;
  private ticked: number;

  constructor(
    private readonly limits: Limits,
    now: number
  ) {
    this.nextPing = now + limits.heartbeat;
    this.deadAt = now + limits.deadAfter;
    this.ticked = now;
  }

  /** When `tick` should be called next. */
  get due(): number {
    return Math.min(this.nextPing, this.deadAt);
  }

  /** Anything arrived. */
  heard(now: number): void {
    this.deadAt = now + this.limits.deadAfter;
  }

  /** The caller sends a ping now, because it doubts the line: the answer must come soon. */
  probe(now: number): void {
    this.nextPing = now + this.limits.heartbeat;
    this.deadAt = Math.min(this.deadAt, now + this.limits.probe);
  }

  /** What to do now. */
  tick(now: number): 'ping' | 'dead' | null {
    const { heartbeat, probe } = this.limits;
    const slept = now - Math.max(this.ticked, this.due) > heartbeat;
    this.ticked = now;
    if (slept) {
      // This page did not run for a while: a throttled tab, a blocked loop, a laptop that slept. What it did
      // not hear may be waiting to be read. Ask before giving up.
      this.nextPing = now + heartbeat;
      this.deadAt = Math.max(this.deadAt, now + probe);
      return 'ping';
    }
    if (now >= this.deadAt) {
      return 'dead';
    }
    if (now >= this.nextPing) {
      this.nextPing = now + heartbeat;
      return 'ping';
    }
    return null;
  }
}
