/** The layout, as this page has it and as the workspace keeps it for every device. */

import type { WorkspaceApi } from '@persistent-terminal-hub/client';

import { EMPTY, readLayout, same, type Layout } from './layout.js';

/** Milliseconds after a change before it is kept. */
const SETTLED = 400;

export class Desk {
  layout: Layout = EMPTY;
  /** Rises with every change that was made here. */
  turn = 0;
  private timer = 0;
  private writing = 0;

  constructor(
    private readonly api: Pick<WorkspaceApi, 'keepLayout'>,
    private readonly failed: (error: unknown) => void
  ) {}

  /** What the workspace had when it was asked at `turn`; what was changed here since counts more. */
  take(kept: unknown, turn: number): void {
    if (turn === this.turn && this.timer === 0 && this.writing === 0) {
      this.layout = readLayout(kept);
    }
  }

  /** Whether that is a change. */
  arrange(layout: Layout): boolean {
    if (same(layout, this.layout)) {
      return false;
    }
    this.layout = layout;
    this.turn += 1;
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.keep(), SETTLED);
    return true;
  }

  /** The page goes away: what was changed a moment ago is kept now. */
  leave(): void {
    if (this.timer !== 0) {
      window.clearTimeout(this.timer);
      void this.keep(true);
    }
  }

  private async keep(leaving = false): Promise<void> {
    this.timer = 0;
    this.writing += 1;
    try {
      await this.api.keepLayout(this.layout, leaving);
    } catch (error) {
      this.failed(error);
    } finally {
      this.writing -= 1;
    }
  }
}
