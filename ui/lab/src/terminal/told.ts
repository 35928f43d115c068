/** What stands above a terminal that is not simply there. Pure. */

import type { Terminal } from '@jupyterlab/services';
import { exitText, span, type Condition, type Exit, type SessionExit } from '@persistent-terminal-hub/client';

export type Act = 'try' | 'reload' | 'again' | 'close' | 'new';

export interface Told {
  readonly kind: 'lost' | 'ended' | 'note';
  /** Read aloud when it changes. */
  readonly sentence: string;
  readonly hint: string;
  /** Since when, in words; changes all the time. */
  readonly since: string;
  readonly acts: readonly Act[];
}

export interface Facts {
  readonly condition: Condition;
  readonly sentence: string;
  readonly hint: string;
  readonly since: Date;
  readonly now: Date;
  readonly exit: Exit | SessionExit | null;
  /** Typed bytes that are not delivered yet. */
  readonly unsent: number;
  /** The page may only watch. */
  readonly watching: boolean;
  /** The size that somebody else gave it; null: it fits. */
  readonly sized: { readonly rows: number; readonly cols: number } | null;
}

/** How the stock interface calls it. */
export function statusOf(condition: Condition): Terminal.ConnectionStatus {
  switch (condition) {
    case 'live':
      return 'connected';
    case 'idle':
    case 'connecting':
    case 'reconnecting':
    case 'locked':
    case 'taken-over':
      return 'connecting';
    default:
      return 'disconnected';
  }
}

const note = (sentence: string, hint: string): Told => ({ kind: 'note', sentence, hint, since: '', acts: [] });

/** Null: all is well. */
export function told(facts: Facts): Told | null {
  const { condition, sentence, hint, unsent } = facts;
  switch (condition) {
    case 'idle':
    case 'connecting':
      return null;
    case 'live':
      if (facts.watching) {
        return note('You only watch this session.', 'What you type here goes nowhere.');
      }
      return facts.sized
        ? note(
            `Sized ${facts.sized.cols}×${facts.sized.rows} by another page or device.`,
            'The size follows whoever typed last: type here, and it is this one’s.'
          )
        : null;
    case 'ended': {
      const how = facts.exit ? exitText(facts.exit) : 'nobody knows how';
      return {
        kind: 'ended',
        sentence: `This session has ended: ${how.replace(/\.$/, '')}.`,
        hint: 'Nothing of it runs any more. What it printed is kept.',
        since: '',
        acts: ['again', 'close']
      };
    }
    case 'missing':
      return { kind: 'ended', sentence, hint, since: '', acts: ['new', 'close'] };
    case 'sign-in':
    case 'broken':
      return { kind: 'lost', sentence, hint, since: '', acts: ['reload'] };
    default: {
      const waiting = unsent > 0 ? ` ${unsent} typed ${unsent === 1 ? 'byte waits' : 'bytes wait'} to be sent.` : '';
      const seconds = (facts.now.getTime() - facts.since.getTime()) / 1000;
      const since = condition === 'reconnecting' || condition === 'locked' ? `${span(Math.max(0, seconds))} ago` : '';
      return { kind: 'lost', sentence, hint: hint + waiting, since, acts: condition === 'locked' ? [] : ['try'] };
    }
  }
}
