/** Asks what shares the page with a session. */

import type { Session } from '@persistent-terminal-hub/client';
import { useState, type ReactElement } from 'react';

import { Ask } from './Ask.js';
import { leaves, type Way } from './splits.js';
import type { Snapshot } from './store.js';
import { stateText } from './words.js';
import type { Workspace } from './workspace.js';

interface Props {
  readonly workspace: Workspace;
  readonly state: Snapshot;
  readonly session: Session;
  readonly way: Way;
  readonly onClose: () => void;
}

export function SplitDialog({ workspace, state, session, way, onClose }: Props): ReactElement {
  const [chosen, setChosen] = useState('');
  const [asked] = useState(state.shown);
  const here = new Set(asked === null ? [] : leaves(asked));
  const tabs = new Set(state.tabs.map(({ id }) => id));
  const others = (state.sessions ?? []).filter(({ id, state }) => !here.has(id) && (tabs.has(id) || state !== 'ended'));
  return (
    <Ask
      title={
        <>
          Show {way} <bdi>{session.name}</bdi>
        </>
      }
      does="Split"
      ready
      onClose={onClose}
      work={() => workspace.say(workspace.split(way, chosen === '' ? null : chosen))}
    >
      <label>
        Session
        <select value={chosen} onChange={event => setChosen(event.target.value)}>
          <option value="">A new session</option>
          {others.map(one => (
            <option key={one.id} value={one.id}>
              {`${one.name} (${stateText(one)})`}
            </option>
          ))}
        </select>
      </label>
      <p>A session is in one place of the page: from another split it moves here.</p>
    </Ask>
  );
}
