/** One session on the page: its terminal, and whatever is to be said about it. */

import { exitText, type Session } from '@persistent-terminal-hub/client';
import { useEffect, useRef, type ReactElement } from 'react';

import { clock } from './absence.js';
import { Ago } from './Ago.js';
import type { Open } from './App.js';
import { amount, sinceText } from './away.js';
import { leaves, type Box } from './splits.js';
import type { Snapshot } from './store.js';
import type { TerminalView } from './view.js';
import { kindOf, stateText } from './words.js';
import type { Workspace } from './workspace.js';

interface Props {
  readonly workspace: Workspace;
  readonly state: Snapshot;
  readonly open: (what: Open) => void;
  readonly id: string;
  readonly box: Box;
}
interface Of {
  readonly workspace: Workspace;
  readonly state: Snapshot;
  readonly open: (what: Open) => void;
  readonly session: Session;
  readonly view: TerminalView | undefined;
}

export function Pane({ workspace, state, open, id, box }: Props): ReactElement {
  const place = useRef<HTMLDivElement>(null);
  const session = state.tabs.find(tab => tab.id === id);
  const view = workspace.views.get(id);
  const active = state.active === id;
  const panes = state.shown === null ? [] : leaves(state.shown);

  useEffect(() => {
    view?.mount(place.current);
    return () => view?.mount(null);
  }, [view]);
  useEffect(() => {
    if (active) {
      view?.term.focus();
    }
  }, [active, view]);

  const style = {
    left: `${box.x * 100}%`,
    top: `${box.y * 100}%`,
    width: `${box.width * 100}%`,
    height: `${box.height * 100}%`
  };
  return (
    <section
      className="pane"
      role="tabpanel"
      id={`panel-${id}`}
      aria-labelledby={`tab-${id}`}
      data-active={active}
      data-split={panes.length > 1}
      style={style}
    >
      {session && panes.length > 1 && <Head workspace={workspace} state={state} session={session} panes={panes} />}
      {session && <Banner workspace={workspace} state={state} open={open} session={session} view={view} />}
      <div className="place" ref={place}>
        {view && (
          <div className="chips" data-below={view.absence.jumped && view.absence.above !== null}>
            <Away workspace={workspace} view={view} id={id} />
            <Skipped workspace={workspace} view={view} id={id} />
          </div>
        )}
      </div>
    </section>
  );
}

/** The name of a pane among others. A narrow page has one of them, and the way to the others. */
function Head({ workspace, state, session, panes }: { readonly workspace: Workspace; readonly state: Snapshot; readonly session: Session; readonly panes: readonly string[] }): ReactElement {
  const locked = state.locked !== null;
  return (
    <div className="head" data-kind={kindOf(session, locked)} onClick={event => {
        if (event.target instanceof Element && !event.target.closest('button')) {
          workspace.views.get(session.id)?.term.focus();
        }
      }}
    >
      <span className="dot" aria-hidden="true" />
      <bdi className="name" title={stateText(session, locked)}>
        {session.name}
      </bdi>
      {state.narrow && (
        <>
          <button type="button" aria-label="The pane before" onClick={() => workspace.cycle(-1)}>
            ‹
          </button>
          <span>
            {panes.indexOf(session.id) + 1} of {panes.length}
          </span>
          <button type="button" aria-label="The next pane" onClick={() => workspace.cycle(1)}>
            ›
          </button>
        </>
      )}
      <button
        type="button"
        aria-label={`Take ${session.name} out of the split; it keeps its tab`}
        title="Take it out of the split; it keeps its tab (Alt+Shift+X)"
        onClick={() => workspace.unsplit(session.id)}
      >
        ×
      </button>
    </div>
  );
}

/** What was printed while nobody looked. */
function Away({ workspace, view, id }: { readonly workspace: Workspace; readonly view: TerminalView; readonly id: string }): ReactElement | null {
  const { absence } = view;
  const { missed } = absence;
  return (
    missed && (
      <div className="away" role="status">
        <p title={`You left at ${clock(missed.left)}`}>{sinceText(missed.bytes, missed.back - missed.left)}</p>
        {absence.marked && (
          <button type="button" title="Alt+Shift+M" onClick={() => absence.jump()}>
            {absence.jumped ? 'To the end' : absence.above === null ? 'Go there' : 'To the first line'}
          </button>
        )}
        {absence.marked && absence.above !== null && (
          <a className="button" href={workspace.api.outputUrl(id)} download>
            Download the output
          </a>
        )}
        <button
          type="button"
          aria-label="Dismiss"
          onClick={() => {
            absence.forget();
            view.term.focus();
          }}
        >
          ×
        </button>
      </div>
    )
  );
}

/** Output that went by faster than it could be shown. */
function Skipped({ workspace, view, id }: { readonly workspace: Workspace; readonly view: TerminalView; readonly id: string }): ReactElement | null {
  return view.skipped === 0 ? null : (
    <div className="away" role="status" data-skipped={view.skipped}>
      <p>{amount(view.skipped)} of the output were left out here, to keep up</p>
      <a className="button" href={workspace.api.outputUrl(id)} download>
        Download the output
      </a>
      <button type="button" aria-label="Dismiss" onClick={() => view.forgetSkipped()}>
        ×
      </button>
    </div>
  );
}

/** Whatever is not as it should be, since when, and what can be done. */
function Banner({ workspace, session, view, state, open }: Of): ReactElement | null {
  if (session.state === 'ended') {
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
