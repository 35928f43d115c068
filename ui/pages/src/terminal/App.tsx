/** The page. */

import type { Session } from '@persistent-terminal-hub/client';
import { useEffect, useState, useSyncExternalStore, type ReactElement } from 'react';

import { Actions } from './Actions.js';
import { EndDialog, NewDialog, PasteDialog, RenameDialog, SessionsDialog } from './Dialogs.js';
import { Find } from './Find.js';
import { HelpDialog } from './HelpDialog.js';
import { Keys } from './Keys.js';
import { Lock } from './Lock.js';
import { Panes } from './Panes.js';
import { isDark } from './prefs.js';
import { actionOf, type Action } from './shortcuts.js';
import { SplitDialog } from './SplitDialog.js';
import type { Way } from './splits.js';
import { StatusBar } from './StatusBar.js';
import { Tabs } from './Tabs.js';
import { Toasts } from './Toasts.js';
import type { Workspace } from './workspace.js';

export type Open =
  | { readonly what: 'new' | 'sessions' | 'help' }
  | { readonly what: 'split'; readonly session: Session; readonly way: Way }
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
    window.setTimeout(() => {
      const { active } = workspace.get(); // it may be another one now
      workspace.views.get(active ?? '')?.term.focus();
    });
  };

  const act = (action: Action): boolean => {
    const asks = session !== null && session !== undefined && state.locked === null;
    switch (action) {
      case 'find':
        setFinding(view !== undefined);
        return true;
      case 'tabs':
        document.querySelector<HTMLElement>('[role=tab][aria-selected=true]')?.focus();
        return true;
      case 'before':
      case 'next':
        workspace.step(action === 'before' ? -1 : 1);
        return true;
      case 'sessions':
      case 'new':
      case 'help':
        setOpen({ what: action });
        return true;
      case 'beside':
      case 'below':
        setOpen(asks ? { what: 'split', session, way: action } : null);
        return true;
      case 'unsplit':
        if (active !== null) {
          workspace.unsplit(active);
        }
        return true;
      case 'left':
      case 'right':
      case 'up':
      case 'down':
        return workspace.go(action);
      case 'mark':
        return view?.absence.jump() ?? false;
      case 'copy-shown':
        void view?.copy('shown').then(done => done && workspace.toast('Copied as shown.', false));
        return true;
    }
  };
  useEffect(() => {
    const hear = (event: KeyboardEvent): boolean => {
      const action = event.defaultPrevented || state.locked !== null || document.querySelector('dialog[open]') ? null : actionOf(event);
      if (action === null || !act(action)) {
        return false;
      }
      event.preventDefault();
      return true;
    };
    workspace.onKey = hear;
    document.addEventListener('keydown', hear);
    return () => document.removeEventListener('keydown', hear);
  });

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
        <Panes workspace={workspace} state={state} open={setOpen} />
        {prefs.keys && view && <Keys view={view} />}
        <StatusBar state={state} session={session} view={view} />
      </div>
      {!locked && (
        <>
          <Toasts workspace={workspace} toasts={state.toasts} />
          {open?.what === 'new' && <NewDialog workspace={workspace} onClose={close} />}
          {open?.what === 'help' && <HelpDialog onClose={close} />}
          {open?.what === 'split' && <SplitDialog workspace={workspace} state={state} session={open.session} way={open.way} onClose={close} />}
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
