/** The sessions that share the page, and the edges between them. */

import type { KeyboardEvent, PointerEvent, ReactElement } from 'react';

import type { Open } from './App.js';
import { Nothing } from './Nothing.js';
import { Pane } from './Pane.js';
import { bounded, LEAST, placesOf, type Edge } from './splits.js';
import type { Snapshot } from './store.js';
import type { Workspace } from './workspace.js';

interface Props {
  readonly workspace: Workspace;
  readonly state: Snapshot;
  readonly open: (what: Open) => void;
}

const percent = (part: number): string => `${part * 100}%`;

export function Panes({ workspace, state, open }: Props): ReactElement {
  const { active, shown, narrow, tabs } = state;
  if (active === null || shown === null) {
    return (
      <main className="panes">
        <Nothing state={state} open={open} />
      </main>
    );
  }
  const { panes, edges } = placesOf(narrow ? active : shown);
  return (
    <main className="panes">
      {edges.map(edge => (
        <EdgeHandle key={edge.path} edge={edge} workspace={workspace} names={edge.before.map(id => tabs.find(tab => tab.id === id)?.name ?? '')} />
      ))}
      {[...panes].map(([id, box]) => (
        <Pane key={id} id={id} box={box} workspace={workspace} state={state} open={open} />
      ))}
    </main>
  );
}

const STEP = 0.02;

function EdgeHandle({ edge, workspace, names }: { readonly edge: Edge; readonly workspace: Workspace; readonly names: readonly string[] }): ReactElement {
  const { path, way, share, box } = edge;
  const beside = way === 'beside';
  const set = (to: number): void => workspace.resizeSplit(path, bounded(to));

  const onKey = (event: KeyboardEvent): void => {
    const step = event.shiftKey ? 5 * STEP : STEP;
    const [less, more] = beside ? ['ArrowLeft', 'ArrowRight'] : ['ArrowUp', 'ArrowDown'];
    const to =
      event.key === less ? share - step
      : event.key === more ? share + step
      : event.key === 'Home' ? 0
      : event.key === 'End' ? 1
      : event.key === 'Enter' ? 0.5
      : null;
    if (to !== null && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      set(to);
    }
  };
  const onMove = (event: PointerEvent<HTMLElement>): void => {
    const room = event.currentTarget.parentElement?.getBoundingClientRect();
    if (room && event.currentTarget.hasPointerCapture(event.pointerId)) {
      const [at, from, size] = beside
        ? [event.clientX - room.left, box.x * room.width, box.width * room.width]
        : [event.clientY - room.top, box.y * room.height, box.height * room.height];
      set((at - from) / size);
    }
  };
  const style = beside
    ? { left: percent(box.x + box.width * share), top: percent(box.y), height: percent(box.height) }
    : { top: percent(box.y + box.height * share), left: percent(box.x), width: percent(box.width) };

  return (
    <div
      className="edge"
      data-way={way}
      role="separator"
      tabIndex={0}
      aria-orientation={beside ? 'vertical' : 'horizontal'}
      aria-label={`Size of ${names.join(', ')}`}
      aria-valuenow={Math.round(share * 100)}
      aria-valuemin={Math.round(LEAST * 100)}
      aria-valuemax={Math.round((1 - LEAST) * 100)}
      aria-valuetext={`${Math.round(share * 100)} %`}
      title="Drag, or use the arrow keys; double-click: equal parts"
      style={style}
      onKeyDown={onKey}
      onPointerDown={event => {
        event.preventDefault(); // the terminal keeps the keyboard
        event.currentTarget.setPointerCapture(event.pointerId);
      }}
      onPointerMove={onMove}
      onDoubleClick={() => set(0.5)}
    />
  );
}
