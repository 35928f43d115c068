/** What can be done with the session that is shown, and with the page. */

import type { Session } from '@persistent-terminal-hub/client';
import { useEffect, useRef, useState, type ReactElement } from 'react';

import type { Open } from './App.js';
import type { How } from './copying.js';
import { Device } from './Device.js';
import type { Snapshot } from './store.js';
import type { TerminalView } from './view.js';
import type { Workspace } from './workspace.js';

/** Tabs that a window has room for: above, their number is said. */
const MANY = 8;

interface Props {
  readonly workspace: Workspace;
  readonly state: Snapshot;
  readonly session: Session | null;
  readonly view: TerminalView | undefined;
  readonly open: (what: Open) => void;
  readonly find: () => void;
}

export function Actions({ workspace, state, session, view, open, find }: Props): ReactElement {
  const [menu, setMenu] = useState(false);
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (!menu) {
      return undefined;
    }
    box.current?.querySelector<HTMLElement>('.menu button, .menu a')?.focus();
    const away = (event: Event): void => {
      if (event.target instanceof Node && !box.current?.contains(event.target)) {
        setMenu(false);
      }
    };
    document.addEventListener('pointerdown', away);
    return () => document.removeEventListener('pointerdown', away);
  }, [menu]);

  const act = (work: () => void) => () => {
    setMenu(false);
    work();
  };
  const copy = async (how: How): Promise<void> => {
    const done = await view?.copy(how);
    workspace.toast(done ? 'Copied.' : 'Nothing was copied: select some text in the terminal first.', false);
  };
  const paste = async (): Promise<void> => {
    try {
      view?.offer(await navigator.clipboard.readText());
    } catch {
      workspace.toast('The browser does not let this page read the clipboard: press Ctrl+Shift+V.', true);
    }
  };
  const ended = session?.state === 'ended';

  return (
    <div
      className="actions"
      ref={box}
      onKeyDown={event => {
        if (event.key === 'Escape' && menu) {
          setMenu(false);
          box.current?.querySelector<HTMLElement>('[aria-haspopup]')?.focus();
        }
      }}
    >
      <button type="button" onClick={find} disabled={!view} title="Search the scrollback (Ctrl+Shift+F)">
        Search
      </button>
      <button type="button" onClick={() => open({ what: 'sessions' })} title="All sessions, ended ones too (Alt+Shift+O)">
        Sessions{state.tabs.length > MANY && <span className="quiet"> {state.tabs.length}</span>}
      </button>
      <button
        type="button"
        aria-haspopup="true"
        aria-expanded={menu}
        aria-controls="menu"
        onClick={() => setMenu(!menu)}
      >
        More
      </button>
      {menu && (
        <div className="menu" id="menu">
          {session && (
            <>
              <h2>
                <bdi>{session.name}</bdi>
              </h2>
              <button type="button" onClick={act(() => open({ what: 'rename', session }))} disabled={ended}>
                Rename…
              </button>
              <button type="button" onClick={act(() => open({ what: 'restart', session }))}>
                Restart…
              </button>
              <button type="button" onClick={act(() => open({ what: 'end', session }))} className="bad">
                {ended ? 'Forget…' : 'End…'}
              </button>
              <button type="button" onClick={act(() => open({ what: 'split', session, way: 'beside' }))}>
                Split side by side…
              </button>
              <button type="button" onClick={act(() => open({ what: 'split', session, way: 'below' }))}>
                Split one below the other…
              </button>
              {state.shown !== null && typeof state.shown !== 'string' && (
                <button type="button" onClick={act(() => workspace.unsplit(session.id))}>
                  Take it out of the split
                </button>
              )}
              <button type="button" onClick={act(() => void copy('joined'))}>
                Copy the selection
              </button>
              <button type="button" onClick={act(() => void copy('shown'))}>
                Copy it with line breaks as shown
              </button>
              <button type="button" onClick={act(() => void paste())} disabled={ended}>
                Paste
              </button>
              <button type="button" onClick={act(() => workspace.close(session.id))}>
                Close the tab; the session goes on
              </button>
              <a href={workspace.api.outputUrl(session.id)} download onClick={() => setMenu(false)}>
                Download the output as text
              </a>
            </>
          )}
          <Device workspace={workspace} state={state} />
          {workspace.facts.hubPath !== '' && (
            <>
              <h2>Workspace</h2>
              <button type="button" onClick={act(() => void workspace.lockNow())}>
                Lock now
              </button>
              <a href={`${workspace.facts.hubPath}home`}>All workspaces</a>
            </>
          )}
          <a href={`${workspace.facts.baseUrl}lab`}>Open JupyterLab</a>
          <button type="button" onClick={act(() => open({ what: 'help' }))}>
            Keys…
          </button>
        </div>
      )}
    </div>
  );
}
