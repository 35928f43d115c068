/** The tabs: one session each. */

import { useEffect, useRef, type KeyboardEvent, type ReactElement } from 'react';

import { leaves } from './splits.js';
import type { Snapshot } from './store.js';
import { kindOf, stateText } from './words.js';
import type { Workspace } from './workspace.js';

interface Props {
  readonly workspace: Workspace;
  readonly state: Snapshot;
  readonly onNew: () => void;
}

export function Tabs({ workspace, state, onNew }: Props): ReactElement {
  const { tabs, active, sessions, locked, shown } = state;
  const list = useRef<HTMLDivElement>(null);
  const together = new Set(shown === null || typeof shown === 'string' ? [] : leaves(shown));
  useEffect(() => {
    const look = (): void => list.current?.querySelector('.tab[data-selected=true]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    look();
    window.addEventListener('resize', look);
    return () => window.removeEventListener('resize', look);
  }, [active, tabs.length]);

  const onKey = (event: KeyboardEvent, id: string): void => {
    const by = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (by !== 0 && event.ctrlKey) {
      workspace.moveTab(id, by);
    } else if (by !== 0) {
      workspace.step(by);
      requestAnimationFrame(() => document.querySelector<HTMLElement>('[role=tab][aria-selected=true]')?.focus());
    } else if (event.key === 'Enter' || event.key === ' ') {
      workspace.activate(id);
      workspace.views.get(id)?.term.focus();
    } else if (event.key === 'Delete') {
      workspace.close(id);
    } else {
      return;
    }
    event.preventDefault();
  };

  return (
    <div className="tabs">
      {sessions === null && !state.problem && <span className="skeleton" aria-hidden="true" />}
      <div role="tablist" aria-label="Sessions" className="tablist" ref={list}>
        {tabs.map(session => {
          const selected = session.id === active;
          const text = stateText(session, locked !== null);
          return (
            <div key={session.id} role="presentation" className="tab" data-kind={kindOf(session, locked !== null)} data-selected={selected} data-together={together.has(session.id)}>
              <button
                type="button"
                role="tab"
                id={`tab-${session.id}`}
                aria-selected={selected}
                aria-controls={workspace.onPage.includes(session.id) ? `panel-${session.id}` : undefined}
                tabIndex={selected ? 0 : -1}
                title={`${session.name}\n${text}`}
                onClick={() => {
                  workspace.activate(session.id);
                  workspace.views.get(session.id)?.term.focus();
                }}
                onKeyDown={event => onKey(event, session.id)}
              >
                <span className="dot" aria-hidden="true" />
                <bdi className="name">{session.name}</bdi>
                {session.busy && session.program && <span className="program">{session.program}</span>}
                <span className="hidden">, {text}</span>
              </button>
              <button
                type="button"
                className="close"
                tabIndex={-1}
                aria-hidden="true" // nothing but tabs may be in a list of tabs: there is Delete, and an entry of the menu
                title="Close the tab; the session goes on"
                onClick={() => workspace.close(session.id)}
              >
                ×
              </button>
            </div>
          );
        })}
      </div>
      <button type="button" className="new" onClick={onNew} aria-label="New session" title="New session">
        +
      </button>
    </div>
  );
}
