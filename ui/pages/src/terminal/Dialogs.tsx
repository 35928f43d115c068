/** Questions that the page asks before it does something. */

import type { Session } from '@persistent-terminal-hub/client';
import { useState, type ReactElement } from 'react';

import { Ask } from './Ask.js';
import { Modal } from './Modal.js';
import { harmless, kindOf, linesOf, lossText, nameProblem, stateText } from './words.js';
import type { Snapshot } from './store.js';
import type { Workspace } from './workspace.js';

interface Props {
  readonly workspace: Workspace;
  readonly onClose: () => void;
}

export function NewDialog({ workspace, onClose }: Props): ReactElement {
  const [name, setName] = useState('');
  const [cwd, setCwd] = useState('');
  return (
    <Ask
      title="New session"
      does="Start"
      problem={name === '' ? '' : nameProblem(name)}
      onClose={onClose}
      work={() => workspace.say(workspace.create({ ...(name ? { name } : {}), ...(cwd ? { cwd } : {}) }))}
    >
      <label>
        Name
        <input value={name} onChange={event => setName(event.target.value)} placeholder="the next free number" data-autofocus autoComplete="off" spellCheck={false} maxLength={80} />
      </label>
      <label>
        Directory
        <input value={cwd} onChange={event => setCwd(event.target.value)} placeholder="the workspace’s" autoComplete="off" spellCheck={false} maxLength={4000} />
      </label>
    </Ask>
  );
}

export function RenameDialog({ workspace, session, onClose }: Props & { readonly session: Session }): ReactElement {
  const [name, setName] = useState(session.name);
  return (
    <Ask
      title="Rename the session"
      does="Rename"
      problem={nameProblem(name)}
      onClose={onClose}
      work={() => workspace.say(workspace.rename(session, name))}
    >
      <label>
        Name
        <input value={name} onChange={event => setName(event.target.value)} onFocus={event => event.target.select()} data-autofocus autoComplete="off" spellCheck={false} maxLength={80} />
      </label>
      <p>Whoever is attached stays attached; the former name goes on leading here.</p>
    </Ask>
  );
}

/** `again`: the same program is started anew. */
export function EndDialog({ workspace, session, again, onClose }: Props & { readonly session: Session; readonly again: boolean }): ReactElement {
  const ended = session.state === 'ended';
  const verb = again ? 'Restart' : ended ? 'Forget' : 'End';
  return (
    <Ask
      title={
        <>
          {verb} <bdi>{session.name}</bdi>?
        </>
      }
      does={again && ended ? 'Start again' : verb}
      bad={!again || !ended}
      onClose={onClose}
      work={() => workspace.say(again ? workspace.restart(session) : workspace.end(session))}
    >
      {!(again && ended) && <p>{lossText(session)}</p>}
      {again && (
        <p>
          Then <code>{session.argv.join(' ') || 'the shell'}</code> is started in <code>{session.cwd || 'the workspace’s directory'}</code>.
        </p>
      )}
    </Ask>
  );
}

export function PasteDialog({ text, onDone }: { readonly text: string; readonly onDone: (text: string | null) => void }): ReactElement {
  const [edited, setEdited] = useState(() => harmless(text));
  const lines = linesOf(edited);
  return (
    <Modal title="Paste this?" onClose={() => onDone(null)} wide>
      <p>
        {lines > 1 ? `It has ${lines} lines, and each may run as a command.` : 'It may run as a command at once.'}
        {edited.length !== text.length && ' Control characters were left out.'}
      </p>
      <textarea value={edited} onChange={event => setEdited(event.target.value)} aria-label="The text to paste" rows={10} spellCheck={false} />
      <p className="buttons">
        <button type="button" onClick={() => onDone(null)}>
          Cancel
        </button>
        {lines > 1 && (
          <button type="button" onClick={() => onDone(edited.split(/\s*[\r\n]+\s*/).join(' ').trim())}>
            Paste as one line
          </button>
        )}
        <button type="button" className="first" data-autofocus onClick={() => onDone(edited)}>
          Paste
        </button>
      </p>
    </Modal>
  );
}

export function SessionsDialog({ workspace, state, onClose }: Props & { readonly state: Snapshot }): ReactElement {
  const [wanted, setWanted] = useState('');
  const tabs = new Set(state.tabs.map(({ id }) => id));
  const found = (state.sessions ?? []).filter(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()));
  const openIt = (session: Session): void => {
    onClose();
    workspace.open(session);
  };
  return (
    <Modal title="Sessions of this workspace" onClose={onClose} wide>
      <form
        onSubmit={event => {
          event.preventDefault();
          const [first] = found;
          if (first) {
            openIt(first);
          }
        }}
      >
        <input type="search" value={wanted} onChange={event => setWanted(event.target.value)} placeholder="Find by name; Enter opens the first" aria-label="Find by name" data-autofocus />
      </form>
      <p className="hidden" role="status">
        {found.length === 1 ? 'One session' : `${found.length} sessions`}
      </p>
      {found.length === 0 && <p>{wanted === '' ? 'There is none yet.' : 'No session has such a name.'}</p>}
      <ul className="sessions">
        {found.map(session => (
          <li key={session.id} data-kind={kindOf(session, false)}>
            <span className="dot" aria-hidden="true" />
            <div>
              <bdi className="name">{session.name}</bdi>
              <span className="quiet">
                {stateText(session)}
                {session.created && ` · started ${session.created.toLocaleString()}`}
              </span>
            </div>
            <a className="button" href={workspace.api.outputUrl(session.id)} download aria-label={`Download the output of ${session.name}`}>
              Download
            </a>
            <button type="button" aria-label={`${tabs.has(session.id) ? 'Show' : 'Open'} ${session.name}`} onClick={() => openIt(session)}>
              {tabs.has(session.id) ? 'Show' : 'Open'}
            </button>
          </li>
        ))}
      </ul>
      <p className="buttons">
        <button type="button" onClick={onClose}>
          Close
        </button>
      </p>
    </Modal>
  );
}
