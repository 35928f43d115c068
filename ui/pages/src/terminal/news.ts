/** Tells of long commands that have ended: on the page, and beside it when nobody sees it. */

import type { Session } from '@persistent-terminal-hub/client';

import { CommandWatch, type CommandEnd } from './commands.js';

export class News {
  private readonly watches = new Map<string, CommandWatch>();

  /** `least`: seconds that a command must have taken; 0: nothing is told. */
  constructor(
    private readonly least: () => number,
    private readonly tell: (session: string, end: CommandEnd) => void
  ) {}

  /** A mark of a session's shell. */
  mark(session: string, data: string, fresh: boolean, what: string | null): void {
    this.told(session, this.of(session).mark(data, fresh, seconds(), what));
  }

  /** Its screen begins anew. */
  lost(session: string): void {
    this.of(session).lost();
  }

  /** What the list says. */
  list(sessions: readonly Session[]): void {
    for (const { id, state, busy, busyFor, program } of sessions) {
      if (state !== 'ended') {
        this.told(id, this.of(id).facts(busy, busyFor, program, seconds()));
      }
    }
    const there = new Set(sessions.map(({ id }) => id));
    [...this.watches.keys()].filter(id => !there.has(id)).forEach(id => this.watches.delete(id));
  }

  private of(session: string): CommandWatch {
    const watch = this.watches.get(session) ?? new CommandWatch();
    this.watches.set(session, watch);
    return watch;
  }

  private told(session: string, end: CommandEnd | null): void {
    const least = this.least();
    if (end && least > 0 && end.seconds >= least) {
      this.tell(session, end);
    }
  }
}

const seconds = (): number => Date.now() / 1000;

/** `none`: this browser has no notifications (or not without HTTPS). */
export const permission = (): NotificationPermission | 'none' =>
  typeof Notification === 'undefined' ? 'none' : Notification.permission;

/** Beside the page; the browser shows it only if the person allowed it. */
export function notify(title: string, body: string, tag: string, show: () => void): void {
  if (permission() !== 'granted') {
    return;
  }
  try {
    const note = new Notification(title, { body, tag });
    note.onclick = () => {
      window.focus();
      note.close();
      show();
    };
  } catch {
    // a phone shows notifications of service workers only
  }
}
