// What can be done with a workspace or a session. Nothing happens before a page that says what will be lost.

import { useEffect, useRef, useState, type FormEvent, type ReactNode } from 'react';
import { Ago, Badge, Name, Problem } from './bits';
import { ask, refusalIn, type Refusal } from './api';
import { isOrphan, stateOf, titleOf, type Place } from './board';
import type { SessionRow, WorkspaceRow } from './types';
import { bytes, counted, listed, MIB, span } from './words';

/** What was asked for, of which session (none: the workspace). */
interface Wish {
  readonly act: 'lock' | 'ask' | 'stop' | 'warn' | 'end' | 'extend';
  readonly session?: SessionRow;
}

const HOURS = [1, 8, 24, 7 * 24];
const TITLES: Record<Wish['act'], string> = {
  lock: 'Lock this workspace?',
  ask: 'Ask its owner to unlock it?',
  stop: 'Stop this workspace?',
  warn: 'Send a message',
  end: 'End this session?',
  extend: 'Give this session more time'
};

/** `focus`: the session that was clicked. */
export function Acts(props: { place: Place; focus: string | null; onClose: () => void }): ReactNode {
  const { place, focus, onClose } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const [wish, setWish] = useState<Wish | null>(null);
  const [said, setSaid] = useState('');
  useEffect(() => {
    const element = dialog.current;
    if (element && !element.open) {
      element.showModal();
    }
  }, []);
  const done = (text: string) => {
    setSaid(text);
    setWish(null);
  };
  return (
    <dialog
      ref={dialog}
      aria-labelledby="acts-title"
      onClose={onClose}
      onClick={event => event.target === event.currentTarget && onClose()}
    >
      <div className="sheet">
        <header>
          <h2 id="acts-title">
            <Name text={place.name ? titleOf(place) : `${place.owner} · default workspace`} />
          </h2>
          <Badge state={stateOf(place)} />
          <button type="button" className="button" onClick={onClose}>
            Close
          </button>
        </header>
        {said && (
          <p className="notice good" role="status">
            {said}
          </p>
        )}
        {isOrphan(place) ? (
          <Orphan place={place} />
        ) : wish ? (
          <Confirm workspace={place} wish={wish} onBack={() => setWish(null)} onDone={done} />
        ) : (
          <Menu workspace={place} focus={focus} onWish={setWish} />
        )}
      </div>
    </dialog>
  );
}

const Orphan = ({ place }: { place: Extract<Place, { container: string }> }): ReactNode => (
  <p>
    The container <code>{place.container}</code> runs, but the hub has no record of it
    {place.deleted ? ': the workspace was deleted while Docker did not answer.' : '.'}{' '}
    {place.userKnown
      ? 'The culler adopts it within a minute or two, and its sessions go on.'
      : 'The hub does not know its user: add them, and it is adopted.'}{' '}
    Nothing removes it while it runs.
  </p>
);

function Menu(props: {
  workspace: WorkspaceRow;
  focus: string | null;
  onWish: (wish: Wish) => void;
}): ReactNode {
  const { workspace, focus, onWish } = props;
  const runs = workspace.status === 'running';
  const sessions = [...workspace.sessions].sort((a, b) => Number(b.id === focus) - Number(a.id === focus));
  return (
    <>
      {workspace.answers === false && (
        <p className="notice danger">
          <span>
            This workspace has not answered for <Ago at={workspace.silentSince} />. What is shown is what it said last; its
            programs may be running on.
          </span>
        </p>
      )}
      <p className="soft">
        {workspace.display && workspace.display !== workspace.name && workspace.display !== 'default' && (
          <>
            <Name text={workspace.display} /> ·{' '}
          </>
        )}
        {!runs ? (
          'It does not run: there is nothing to lock or to end.'
        ) : workspace.presence === null ? (
          'Nothing is known yet of who is there.'
        ) : (
          <>
            Last keyboard, pointer or touch of its owner: <Ago at={workspace.presence} /> ago.
          </>
        )}
      </p>
      {workspace.asked && (
        <p className="notice info">
          <span>
            Its owner reads: “<bdi>{workspace.asked}</bdi>”
          </span>
        </p>
      )}
      <div className="actions">
        <button type="button" className="button" disabled={!runs || workspace.locked === true} onClick={() => onWish({ act: 'warn' })}>
          Send a message…
        </button>
        {workspace.locked ? (
          <button type="button" className="button" disabled={!runs} onClick={() => onWish({ act: 'ask' })}>
            Ask to unlock…
          </button>
        ) : (
          <button type="button" className="button" disabled={!runs} onClick={() => onWish({ act: 'lock' })}>
            Lock…
          </button>
        )}
        <button type="button" className="button danger" disabled={!runs} onClick={() => onWish({ act: 'stop' })}>
          Stop…
        </button>
      </div>
      {runs && (sessions.length > 0 || workspace.answers !== false) && (
        <>
          <h3>{counted(sessions.length, 'session')}</h3>
          <ul className="sessions">
            {sessions.map(session => (
              <li key={session.id} className={session.id === focus ? 'chosen' : ''}>
                <div>
                  <Name text={session.name} strong /> <Badge state={session.state} />
                  <div className="soft">
                    {session.busySince !== null && (
                      <>
                        busy for <Ago at={session.busySince} /> ·{' '}
                      </>
                    )}
                    begun <Ago at={session.created} /> ago
                    {session.memory > 0 && ` · ${bytes(session.memory * MIB)}`}
                  </div>
                </div>
                <div className="actions">
                  <button
                    type="button"
                    className="button"
                    aria-label={`Send a message to session ${session.name}`}
                    disabled={workspace.locked === true}
                    onClick={() => onWish({ act: 'warn', session })}
                  >
                    Message…
                  </button>
                  <button
                    type="button"
                    className="button"
                    aria-label={`Extend session ${session.name}`}
                    onClick={() => onWish({ act: 'extend', session })}
                  >
                    Extend…
                  </button>
                  <button
                    type="button"
                    className="button danger"
                    aria-label={`End session ${session.name}`}
                    onClick={() => onWish({ act: 'end', session })}
                  >
                    End…
                  </button>
                </div>
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

function Confirm(props: {
  workspace: WorkspaceRow;
  wish: Wish;
  onBack: () => void;
  onDone: (said: string) => void;
}): ReactNode {
  const { workspace, wish, onBack, onDone } = props;
  const { act } = wish;
  // As it is now: a program may have begun since it was asked for.
  const session = workspace.sessions.find(each => each.id === wish.session?.id) ?? wish.session;
  const [text, setText] = useState('');
  const [hours, setHours] = useState(8);
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const names = workspace.sessions.map(each => each.name);
  const working = workspace.sessions.filter(each => each.busySince !== null).map(each => each.name);
  const owner = workspace.owner;

  const go = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setRefusal(null);
    try {
      onDone(await perform(workspace, wish, text.trim(), hours * 3600));
    } catch (error) {
      setRefusal(refusalIn(error));
      setBusy(false);
    }
  };

  const verb = {
    lock: 'Lock',
    ask: 'Ask',
    stop: names.length ? `Stop and end ${counted(names.length, 'session')}` : 'Stop',
    warn: 'Send',
    end: 'End session',
    extend: 'Extend'
  }[act];
  return (
    <form className="confirm" onSubmit={event => void go(event)}>
      <h3>{TITLES[act]}</h3>
      {act === 'lock' && (
        <p>
          Nothing ends{names.length ? `: ${listed(names)} ${names.length === 1 ? 'goes' : 'go'} on` : ''}. Every page and
          terminal of it closes, and <Name text={owner} /> has to log in again to open it.
        </p>
      )}
      {act === 'ask' && (
        <p>
          Nothing is lost, and nothing opens: only <Name text={owner} /> can unlock it, by logging in again. Until then your
          name and your message are shown on its lock page, which everybody with its address can read, over its open pages,
          and on the home page of its owner.
        </p>
      )}
      {act === 'stop' && (
        <>
          <p>
            {names.length ? (
              <>
                <strong>
                  {counted(names.length, 'session')} will end: {listed(names)}.
                </strong>{' '}
                {working.length > 0 && `A program is running in ${listed(working)}; what it has not saved is lost.`}
              </>
            ) : (
              workspace.answers === false ? 'Which sessions run in it is not known.' : 'No session runs in it.'
            )}{' '}
            {workspace.kernelBusy && 'A notebook is computing; that ends, too. '}
            Files stay, and so does the end of what each session printed.
          </p>
          {workspace.answers === false && (
            <p className="notice danger">It does not answer: sessions that it did not tell of may end as well.</p>
          )}
        </>
      )}
      {act === 'end' && session && (
        <p>
          <strong>The session “{session.name}” of {owner} ends, with every program in it.</strong>{' '}
          {session.busySince !== null
            ? `A program has been running in it for ${span(Date.now() / 1000 - session.busySince)}; what it has not saved is lost.`
            : 'Nothing runs in its foreground but what it was begun with, as a rule a shell.'}{' '}
          Other sessions and all files stay. Your name and your message are shown in it first.
        </p>
      )}
      {act === 'extend' && session && (
        <p>
          The session “{session.name}” ends later than it would, within the maximum of the rules of this workspace.
        </p>
      )}
      {act === 'warn' && (
        <p>
          It is shown, with your name, in {session ? `the session “${session.name}”` : 'every session of this workspace'}{' '}
          that is open somewhere now. Nothing else changes.
        </p>
      )}
      {act === 'extend' ? (
        <label>
          By
          <select className="field" value={hours} onChange={event => setHours(Number(event.target.value))}>
            {HOURS.map(each => (
              <option key={each} value={each}>
                {each < 48 ? counted(each, 'hour') : `${each / 24} days`}
              </option>
            ))}
          </select>
        </label>
      ) : (
        act !== 'stop' && (
          <label>
            {act === 'warn' ? 'Message' : act === 'ask' || act === 'lock' ? 'Why (its lock page says it)' : 'Why (the owner reads it)'}
            <input
              className="field"
              value={text}
              maxLength={act === 'lock' ? 200 : 300}
              required={act === 'warn'}
              autoFocus={act !== 'end'}
              dir="auto"
              onChange={event => setText(event.target.value)}
            />
          </label>
        )
      )}
      {refusal && <Problem refusal={refusal} />}
      <div className="actions">
        <button type="submit" className={`button ${act === 'stop' || act === 'end' ? 'danger' : 'primary'}`} disabled={busy}>
          {busy ? 'One moment…' : verb}
        </button>
        <button type="button" className="button" onClick={onBack} autoFocus={act === 'stop' || act === 'end' || act === 'extend'}>
          Back
        </button>
      </div>
    </form>
  );
}

/** Does it; what to say afterwards. Throws Refused. */
async function perform(workspace: WorkspaceRow, wish: Wish, text: string, seconds: number): Promise<string> {
  const item = `workspaces/${workspace.id}`;
  const { act, session } = wish;
  const one = session ? `sessions/${workspace.id}.${session.id}` : '';
  switch (act) {
    case 'lock':
      await ask('POST', `${item}/lock`, { reason: text });
      return 'The workspace is locked.';
    case 'ask':
      await ask('POST', `${item}/unlock-request`, { message: text });
      return 'Its owner was asked to unlock it.';
    case 'stop':
      await ask('POST', `${item}/stop`, {});
      return 'The workspace is being stopped.';
    case 'warn':
      await ask('POST', `${one || item}/warn`, { message: text });
      return 'The message was sent.';
    case 'end':
      await ask('DELETE', `${one}${text ? `?message=${encodeURIComponent(text)}` : ''}`);
      return `The session “${session?.name}” was ended.`;
    case 'extend': {
      const { granted } = await ask<{ granted: number }>('POST', `${one}/extend`, { seconds });
      return `The session “${session?.name}” got ${span(granted)} more.`;
    }
  }
}
