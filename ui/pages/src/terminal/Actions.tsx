/** What can be done with the session that is shown, and with the page. */

import type { Session } from '@persistent-terminal-hub/client';
import { useEffect, useRef, useState, type ReactElement } from 'react';

import type { Open } from './App.js';
import { SIZES, type Theme } from './prefs.js';
import type { TerminalView } from './view.js';
import type { Snapshot, Workspace } from './workspace.js';

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
  const { prefs } = state;

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
  const size = (by: number): void =>
    workspace.setPrefs({ fontSize: Math.max(SIZES.least, Math.min(SIZES.most, prefs.fontSize + by)) });
  const copy = async (): Promise<void> => {
    const done = await view?.copy().catch(() => false);
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
      <button type="button" onClick={() => open({ what: 'sessions' })} title="All sessions, ended ones too">
        Sessions
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
              <button type="button" onClick={act(() => void copy())}>
                Copy the selection
              </button>
              <button type="button" onClick={act(() => void paste())} disabled={ended}>
                Paste
              </button>
              <a href={workspace.api.outputUrl(session.id)} download onClick={() => setMenu(false)}>
                Download the output as text
              </a>
            </>
          )}
          <h2>This device</h2>
          <div className="row">
            <span id="font-size">Font size {prefs.fontSize}</span>
            <button type="button" aria-label="Smaller font" onClick={() => size(-1)}>
              −
            </button>
            <button type="button" aria-label="Larger font" onClick={() => size(1)}>
              +
            </button>
          </div>
          <label className="row">
            Colours
            <select
              value={prefs.theme}
              onChange={event => workspace.setPrefs({ theme: event.target.value as Theme })}
            >
              <option value="auto">As the device</option>
              <option value="light">Light</option>
              <option value="dark">Dark</option>
            </select>
          </label>
          <label className="row">
            Row of keys
            <input
              type="checkbox"
              checked={prefs.keys}
              onChange={event => workspace.setPrefs({ keys: event.target.checked })}
            />
          </label>
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
          <p className="help">
            Ctrl+Shift+E leaves the terminal for its tab, Alt+Shift+← → changes tabs; on a tab Ctrl+← → moves it and
            Delete closes it.
          </p>
        </div>
      )}
    </div>
  );
}
