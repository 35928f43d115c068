/** The terminal, or what stands in its place. */

import { exitText, type Session } from '@persistent-terminal-hub/client';
import { useEffect, useRef, type ReactElement } from 'react';

import type { Open } from './App.js';
import { Ago } from './Ago.js';
import type { TerminalView } from './view.js';
import type { Snapshot, Workspace } from './workspace.js';

interface Props {
  readonly workspace: Workspace;
  readonly state: Snapshot;
  readonly session: Session | null;
  readonly view: TerminalView | undefined;
  readonly open: (what: Open) => void;
}

export function Pane(props: Props): ReactElement {
  const { session, view, state } = props;
  const place = useRef<HTMLDivElement>(null);

  useEffect(() => {
    view?.mount(place.current);
    view?.term.focus();
    return () => view?.mount(null);
  }, [view]);

  return (
    <main className="pane" id="terminal" role="tabpanel" aria-labelledby={session ? `tab-${session.id}` : undefined}>
      <Banner {...props} />
      <div className="place" ref={place} data-lost={view ? !['live', 'ended', 'connecting'].includes(view.state.condition) : false} />
      {!session && <Nothing state={state} open={props.open} />}
    </main>
  );
}

/** Whatever is not as it should be, since when, and what can be done. */
function Banner({ workspace, session, view, state, open }: Props): ReactElement | null {
  if (session?.state === 'ended') {
    return (
      <div className="banner" role="status">
        <p>
          <strong>This session has ended{session.exit ? `: ${exitText(session.exit)}` : ''}.</strong> Nothing of it runs any more.
        </p>
        <button type="button" onClick={() => open({ what: 'restart', session })}>
          Start it again
        </button>
        <button type="button" onClick={() => workspace.close(session.id)}>
          Close the tab
        </button>
      </div>
    );
  }
  const lost = view?.state;
  if (lost && !['live', 'connecting', 'idle', 'ended'].includes(lost.condition)) {
    const unsent = view.stream.unsent;
    return (
      <div className="banner warn" role="status">
        <p>
          <strong>{lost.sentence}</strong>{' '}
          {lost.condition === 'reconnecting' && (
            <>
              (<Ago since={lost.since} />){' '}
            </>
          )}
          {lost.hint}
          {unsent > 0 && ` ${unsent} typed ${unsent === 1 ? 'byte waits' : 'bytes wait'} to be sent.`}
        </p>
        {lost.condition === 'sign-in' || lost.condition === 'broken' ? (
          <button type="button" onClick={() => location.reload()}>
            {lost.condition === 'sign-in' ? 'Log in again' : 'Reload the page'}
          </button>
        ) : (
          <button type="button" onClick={() => view.stream.retry()}>
            Try now
          </button>
        )}
      </div>
    );
  }
  if (state.problem && state.sessions !== null && (!lost || lost.condition === 'live')) {
    return (
      <div className="banner warn" role="status">
        <p>
          <strong>{state.problem.message}</strong> The list of sessions is as it was <Ago since={new Date(state.asOf)} />.{' '}
          {state.problem.hint}
        </p>
      </div>
    );
  }
  return null;
}

function Nothing({ state, open }: { readonly state: Snapshot; readonly open: (what: Open) => void }): ReactElement {
  if (state.sessions === null) {
    return state.problem ? (
      <div className="nothing">
        <h1>{state.problem.message}</h1>
        <p>{state.problem.hint}</p>
        <p>This page looks again by itself.</p>
        <button type="button" className="first" onClick={() => location.reload()}>
          Reload the page
        </button>
      </div>
    ) : (
      <div className="nothing" role="status">
        <p>Looking for your sessions…</p>
      </div>
    );
  }
  const hidden = state.sessions.length;
  return (
    <div className="nothing">
      <h1>No session is open here</h1>
      <p>
        {hidden > 0
          ? `There ${hidden === 1 ? 'is one session' : `are ${hidden} sessions`} without a tab.`
          : 'A session goes on when you close this page, and is here again on every device.'}
      </p>
      <p className="buttons">
        <button type="button" className="first" onClick={() => open({ what: 'new' })}>
          New session
        </button>
        {hidden > 0 && (
          <button type="button" onClick={() => open({ what: 'sessions' })}>
            Show them
          </button>
        )}
      </p>
    </div>
  );
}
