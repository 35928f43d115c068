/** What stands in place of a terminal when none is shown. */

import type { ReactElement } from 'react';

import type { Open } from './App.js';
import type { Snapshot } from './store.js';

export function Nothing({ state, open }: { readonly state: Snapshot; readonly open: (what: Open) => void }): ReactElement {
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
