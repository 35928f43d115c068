/** What is told to a person, as a sentence and what to do. Pure. */

import { Code } from './codes.js';
import type { StateName } from './events.js';
import type { Exit } from './messages.js';

/** The state of a terminal. `refused` of the protocol is told apart by its reason. */
export type Condition =
  | 'idle'
  | 'connecting'
  | 'live'
  | 'reconnecting'
  | 'locked'
  | 'ended'
  | 'sign-in'
  | 'forbidden'
  | 'missing'
  | 'taken-over'
  | 'broken';

export interface Described {
  readonly condition: Condition;
  readonly sentence: string;
  readonly hint: string;
}

const SENTENCES: Readonly<Record<Condition, readonly [sentence: string, hint: string]>> = {
  idle: ['Not attached.', ''],
  connecting: ['Connecting.', ''],
  live: ['Connected.', ''],
  reconnecting: [
    'The connection was lost.',
    'Programs go on; what you type is kept and sent when the connection is back. This page tries again by itself.'
  ],
  locked: ['The workspace is locked.', 'Programs go on. Log in again to see them.'],
  ended: ['The session has ended.', ''],
  'sign-in': ['The server asks for a new login.', 'Programs go on. Log in again, then this page continues.'],
  forbidden: ['You may not use this session.', 'Ask its owner, or log in as somebody who may.'],
  missing: ['There is no such session.', 'It may have been ended elsewhere and forgotten; open a new one.'],
  'taken-over': ['Another page continues with this one’s place.', ''],
  broken: ['Page and server do not understand each other.', 'Reload the page: one of them is newer than the other.']
};

const REFUSED: ReadonlyMap<number | undefined, Condition> = new Map<number | undefined, Condition>([
  [Code.signIn, 'sign-in'],
  [Code.forbidden, 'forbidden'],
  [Code.noSession, 'missing'],
  [Code.takenOver, 'taken-over']
]);

/** `message` is the server's own; it is used where it is a sentence. */
export function describe(name: StateName, code: number | undefined, message: string): Described {
  const condition = name === 'refused' ? (REFUSED.get(code) ?? 'broken') : name;
  const [sentence, hint] = SENTENCES[condition];
  const told = (name === 'locked' || name === 'refused') && /[.!?]$/.test(message) ? message : sentence;
  return { condition, sentence: told, hint };
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['ttl', 'nobody used it for too long'],
  ['max_age', 'it reached its maximum age'],
  ['terminated', 'somebody ended it'],
  ['restarted', 'it was restarted'],
  ['workspace_ended', 'the workspace was stopped'],
  ['cpu', 'it used more processor time than is allowed'],
  ['memory', 'it used more memory than is allowed']
]);

/** How a session ended, in words: `exit code 0`. */
export function exitText(exit: {
  readonly code?: Exit['code'] | null;
  readonly signal?: number | string | null;
  readonly reason?: string | null;
  readonly message?: string | null;
}): string {
  if (exit.message) {
    return exit.message; // an administrator's: who ended it, and why
  }
  // `exited` is no reason: it ended by itself, and its code or signal says how.
  if (typeof exit.reason === 'string' && exit.reason !== '' && exit.reason !== 'exited') {
    return REASONS.get(exit.reason) ?? exit.reason;
  }
  if (typeof exit.code === 'number') {
    return `exit code ${exit.code}`;
  }
  return exit.signal == null ? 'nobody knows how' : `signal ${exit.signal}`;
}
