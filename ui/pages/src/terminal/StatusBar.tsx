/** One line on what is shown: how it is, since when, and what does not fit. */

import type { Session } from '@persistent-terminal-hub/client';
import type { ReactElement } from 'react';

import type { TerminalView } from './view.js';
import { span, stateText } from './words.js';
import type { Snapshot } from './store.js';

const SHORT: Readonly<Record<string, string>> = {
  live: 'Connected',
  connecting: 'Connecting…',
  reconnecting: 'Reconnecting…',
  locked: 'Locked',
  ended: 'Ended',
  idle: 'Not attached'
};

interface Props {
  readonly state: Snapshot;
  readonly session: Session | null;
  readonly view: TerminalView | undefined;
}

export function StatusBar({ state, session, view }: Props): ReactElement {
  const how = view?.state;
  const wish = view?.wish();
  const sized = view && wish && how?.condition === 'live' && (wish.rows !== view.term.rows || wish.cols !== view.term.cols);
  const name = session && view ? view.title : '';
  // Who is attached here knows better than a list of some seconds ago.
  const known = session?.state === 'dormant' && how?.condition === 'live' ? { ...session, state: 'active' as const } : session;
  return (
    <footer className="status">
      {how && session?.state !== 'ended' && (
        <span className="line" data-condition={how.condition} title={`Since ${how.since.toLocaleString()}`}>
          <span className="dot" aria-hidden="true" />
          <span role="status">{SHORT[how.condition] ?? how.sentence}</span>
        </span>
      )}
      {known && <span className="what">{stateText(known, state.locked !== null)}</span>}
      {name !== '' && <bdi className="title">{name}</bdi>}
      {session?.expiresIn != null && session.expiresIn < 3600 && (
        <span className="soon">Ends in {span(session.expiresIn)} if nobody uses it</span>
      )}
      {sized && (
        <span title="The size follows whoever typed last: type here, and it is yours.">
          Sized {view.term.cols}×{view.term.rows} by another device
        </span>
      )}
      {view?.stream.mode === 'watch' && <span>You only watch</span>}
    </footer>
  );
}
