/** The page. */

import type { Session } from '@persistent-terminal-hub/client';
import { useEffect, useState, useSyncExternalStore, type ReactElement } from 'react';

import { Actions } from './Actions.js';
import { EndDialog, NewDialog, PasteDialog, RenameDialog, SessionsDialog } from './Dialogs.js';
import { Find } from './Find.js';
import { Keys } from './Keys.js';
import { Lock } from './Lock.js';
import { Pane } from './Pane.js';
import { isDark } from './prefs.js';
import { StatusBar } from './StatusBar.js';
import { Tabs } from './Tabs.js';
import { Toasts } from './Toasts.js';
import type { Workspace } from './workspace.js';

export type Open =
  | { readonly what: 'new' | 'sessions' }
  | { readonly what: 'rename' | 'end' | 'restart'; readonly session: Session }
  | null;

export function App({ workspace }: { readonly workspace: Workspace }): ReactElement {
  const state = useSyncExternalStore(workspace.subscribe, workspace.get);
  const [open, setOpen] = useState<Open>(null);
  const [finding, setFinding] = useState(false);
  const { active, prefs, locked, tabs } = state;
  const session = tabs.find(({ id }) => id === active) ?? null;
  const view = active === null ? undefined : workspace.views.get(active);
  const close = (): void => {
    setOpen(null);
    window.setTimeout(() => view?.term.focus());
  };

  useEffect(() => {
    workspace.onKey = event => {
      if (event.ctrlKey && event.shiftKey && event.code === 'KeyF') {
        event.preventDefault();
        setFinding(true);
      } else if (event.ctrlKey && event.shiftKey && event.code === 'KeyE') {
        event.preventDefault();
        document.querySelector<HTMLElement>('[role=tab][aria-selected=true]')?.focus();
      } else if (event.altKey && event.shiftKey && (event.code === 'ArrowLeft' || event.code === 'ArrowRight')) {
        event.preventDefault();
        workspace.step(event.code === 'ArrowLeft' ? -1 : 1);
      } else {
        return false;
      }
      return true;
    };
  }, [workspace]);

  const dark = isDark(prefs.theme);
  useEffect(() => {
    document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
  }, [dark]);

  const title = locked ? 'Locked' : session ? `${session.name} – Terminals` : 'Terminals';
  useEffect(() => {
    document.title = title;
  }, [title]);

  return (
    <>
      <div className="page" data-locked={locked !== null}>
        <header>
          <Tabs workspace={workspace} state={state} onNew={() => setOpen({ what: 'new' })} />
          <Actions workspace={workspace} state={state} session={session} view={view} open={setOpen} find={() => setFinding(true)} />
        </header>
        {finding && view && (
          <Find
            view={view}
            onClose={() => {
              setFinding(false);
              view.endFind();
            }}
          />
        )}
        <Pane workspace={workspace} state={state} session={session} view={view} open={setOpen} />
        {prefs.keys && view && <Keys view={view} />}
        <StatusBar state={state} session={session} view={view} />
      </div>
      {!locked && (
        <>
          <Toasts workspace={workspace} toasts={state.toasts} />
          {open?.what === 'new' && <NewDialog workspace={workspace} onClose={close} />}
          {open?.what === 'sessions' && <SessionsDialog workspace={workspace} state={state} onClose={close} />}
          {open?.what === 'rename' && <RenameDialog workspace={workspace} session={open.session} onClose={close} />}
          {(open?.what === 'end' || open?.what === 'restart') && (
            <EndDialog workspace={workspace} session={open.session} again={open.what === 'restart'} onClose={close} />
          )}
          {state.paste && <PasteDialog text={state.paste.text} onDone={text => workspace.paste(text)} />}
        </>
      )}
      {locked && <Lock facts={workspace.facts} status={locked.status} />}
    </>
  );
}
