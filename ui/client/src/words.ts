/** What is told of sessions, in words. Pure. */

import type { Session } from './api.js';
import type { DropReason } from './events.js';
import { exitText } from './sentences.js';

/** A span in words: `3 minutes`. */
export function span(seconds: number): string {
  const units: ReadonlyArray<readonly [number, string]> = [
    [86_400, 'day'],
    [3_600, 'hour'],
    [60, 'minute'],
    [1, 'second']
  ];
  const whole = Math.max(0, Math.floor(seconds));
  const [size, name] = units.find(([size]) => whole >= 2 * size || (size <= 60 && whole >= size)) ?? [1, 'second'];
  const count = Math.floor(whole / size);
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

export type Kind = 'active' | 'dormant' | 'busy' | 'ended' | 'locked';

export function kindOf(session: Session, locked: boolean): Kind {
  if (locked) {
    return 'locked';
  }
  return session.state === 'ended' ? 'ended' : session.busy ? 'busy' : session.state;
}

/** The state as a sentence. */
export function stateText(session: Session, locked = false): string {
  switch (kindOf(session, locked)) {
    case 'locked':
      return 'Locked: its programs go on';
    case 'ended':
      return session.exit ? `Ended: ${exitText(session.exit)}` : 'Ended';
    case 'busy': {
      const since = session.busyFor === null ? '' : ` for ${span(session.busyFor)}`;
      return `Busy: ${session.program ?? 'a program'} runs${since}`;
    }
    case 'active':
      return session.clients > 1 ? `Active: open in ${session.clients} places` : 'Active';
    case 'dormant':
      return 'Dormant: nobody is attached, it goes on';
  }
}

/** What ending a session takes away. */
export function lossText(session: Session): string {
  if (session.state === 'ended') {
    return 'It has ended already. Its output is forgotten.';
  }
  const busy = session.busy
    ? `${session.program ?? 'A program'} is running${session.busyFor === null ? '' : `, for ${span(session.busyFor)}`}, and is stopped. What it has not saved is lost.`
    : 'Nothing but its shell is in the foreground; programs in the background are stopped as well.';
  const others = session.clients > 1 ? ` It is open in ${session.clients} places, and ends in all of them.` : '';
  return `${busy}${others} What it printed stays readable under “Sessions”.`;
}

/** Whether a name is one the server takes; else why not. */
export function nameProblem(name: string): string {
  if (name === '') {
    return 'A session needs a name.';
  }
  if (name.length > 64) {
    return 'A name has at most 64 characters.';
  }
  return /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)
    ? ''
    : 'Use letters, digits, “_”, “.” and “-”; begin with a letter or a digit.';
}

const DROPPED: Readonly<Record<DropReason, string>> = {
  restarted: 'the session was restarted, and this was for the program before',
  forgotten: 'the workspace was restarted, and it might have been typed twice',
  read_only: 'you only watch this session',
  full: 'too much waits to be sent already',
  locked: 'the workspace is locked',
  ended: 'the session has ended',
  refused: 'the session cannot be attached to'
};

/** What becomes of input that cannot be delivered. */
export function droppedText(size: number, reason: DropReason): string {
  const what = size === 1 ? 'One typed byte was' : `${size} typed bytes were`;
  return `${what} not delivered: ${DROPPED[reason]}.`;
}
