// Small things that several views show.

import { createContext, useContext, useEffect, useState, type ReactNode } from 'react';
import type { Refusal } from './api';
import type { PlaceState } from './board';
import { span } from './words';

/** Somebody's words: may be long, and may run from right to left. */
export const Name = ({ text, strong }: { text: string; strong?: boolean }): ReactNode => (
  <bdi className={strong ? 'name strong' : 'name'} title={text}>
    {text}
  </bdi>
);

const TONES: Record<string, string> = {
  running: 'good', active: 'good', locked: 'info', silent: 'danger', orphan: 'warning', starting: 'info',
  creating: 'info', stopping: 'warning', deleting: 'warning', ok: 'good', refused: 'danger', failed: 'danger'
};
const WORDS: Record<string, string> = { silent: 'not answering', orphan: 'unknown to the hub' };

/** A state as people read it. */
export const wordOf = (state: PlaceState | string): string => WORDS[state] ?? state;

export const Badge = ({ state }: { state: PlaceState | string }): ReactNode => (
  <span className={`badge ${TONES[state] ?? 'plain'}`}>{wordOf(state)}</span>
);

const Now = createContext(Date.now() / 1000);

/** Seconds since 1970, as often as it matters. */
export function Clock({ children }: { children: ReactNode }): ReactNode {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now() / 1000), 10_000);
    return () => clearInterval(timer);
  }, []);
  return <Now.Provider value={now}>{children}</Now.Provider>;
}

/** Made once: making one costs more than a row of a table. */
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** How long ago; the tip says when. */
export function Ago({ at, none = '', ago = false }: { at: number | null; none?: string; ago?: boolean }): ReactNode {
  const now = useContext(Now);
  if (at === null) {
    return <span className="soft">{none}</span>;
  }
  const when = new Date(at * 1000);
  return (
    <time dateTime={when.toISOString()} title={MOMENT.format(when)}>
      {span(now - at)}
      {ago && ' ago'}
    </time>
  );
}

export const Problem = ({ refusal, again }: { refusal: Refusal; again?: () => void }): ReactNode => (
  <div className="notice danger" role="alert">
    <span>
      {refusal.message} {refusal.hint}
    </span>
    {again && (
      <button type="button" className="button" onClick={again}>
        Try again
      </button>
    )}
  </div>
);
