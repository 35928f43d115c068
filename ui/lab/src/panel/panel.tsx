/** The side panel: every session of the workspace, how it is, and what can be done with it. */

import type { CommandRegistry } from '@lumino/commands';
import { ReactWidget, addIcon, ellipsesIcon, refreshIcon } from '@jupyterlab/ui-components';
import { kindOf, span, stateText, type Session } from '@persistent-terminal-hub/client';
import * as React from 'react';

import { Command } from './commands.js';
import { changesOf, found, linesOf, type Elsewhere } from './list.js';
import type { Sessions } from './sessions.js';

/** From so many sessions on there is a field to find one. */
const MANY = 10;

export interface Around {
  readonly sessions: Sessions;
  readonly commands: CommandRegistry;
  readonly elsewhere: Elsewhere;
  /** Show what can be done with a session, at this place of the window. */
  menu(session: Session, x: number, y: number): void;
}

export class Panel extends ReactWidget {
  constructor(private readonly around: Around) {
    super();
    this.addClass('pth-Panel');
    around.sessions.changed.connect(() => this.update());
    around.sessions.look(() => this.isVisible);
  }

  protected override onAfterShow(): void {
    void this.around.sessions.refresh();
    this.update();
  }

  protected override render(): React.JSX.Element {
    return <List {...this.around} />;
  }
}

function List({ sessions, commands, elsewhere, menu }: Around): React.JSX.Element {
  const [wanted, setWanted] = React.useState('');
  const { list, problem, locked } = sessions;
  const news = useNews(sessions);
  const { running, ended } = linesOf(found(list ?? [], wanted));
  const run = (command: string, args = {}): void => void commands.execute(command, args);
  const rows = (some: readonly Session[]): React.JSX.Element[] =>
    some.map(session => <Row key={session.id} {...{ session, locked, run, menu }} />);

  return (
    <div className="pth-Panel-all">
      <div className="pth-Panel-top">
        <h2>Persistent terminals</h2>
        <button type="button" className="pth-Panel-icon" title="New session" aria-label="New session" onClick={() => run(Command.create)}>
          <addIcon.react tag="span" />
        </button>
        <button type="button" className="pth-Panel-icon" title="Look again" aria-label="Look again" onClick={() => void sessions.refresh()}>
          <refreshIcon.react tag="span" />
        </button>
      </div>
      {(list?.length ?? 0) >= MANY && (
        <input
          type="search"
          className="jp-mod-styled"
          placeholder="Find by name"
          aria-label="Find a session by name"
          value={wanted}
          onChange={event => setWanted(event.target.value)}
        />
      )}
      <p className="pth-sr-only" role="status">
        {news}
      </p>
      {problem && (
        <p className="pth-Panel-problem" role="alert">
          <strong>{problem.message}</strong> {problem.hint}{' '}
          {list && `The list is as it was ${span((Date.now() - sessions.asOf.getTime()) / 1000)} ago.`}
        </p>
      )}
      {list === null && !problem && <p className="pth-Panel-quiet">Looking for your sessions…</p>}
      {list?.length === 0 && (
        <p className="pth-Panel-quiet">
          There is no session yet. One goes on when you close this page, and is here again on every device.
        </p>
      )}
      {wanted !== '' && running.length + ended.length === 0 && <p className="pth-Panel-quiet">No session has such a name.</p>}
      {running.length > 0 && <ul aria-label="Sessions of this workspace">{rows(running)}</ul>}
      {ended.length > 0 && (
        <details open={running.length === 0 || undefined}>
          <summary>Ended ({ended.length})</summary>
          <ul aria-label="Ended sessions of this workspace">{rows(ended)}</ul>
        </details>
      )}
      <Others {...elsewhere} />
    </div>
  );
}

interface RowProps {
  readonly session: Session;
  readonly locked: boolean;
  readonly run: (command: string, args: object) => void;
  readonly menu: Around['menu'];
}

function Row({ session, locked, run, menu }: RowProps): React.JSX.Element {
  const kind = kindOf(session, locked);
  const more = (event: React.MouseEvent<HTMLElement>): void => {
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has a menu of its own
    const { left, bottom } = event.currentTarget.getBoundingClientRect();
    const byMouse = event.type === 'contextmenu' && (event.clientX !== 0 || event.clientY !== 0);
    menu(session, byMouse ? event.clientX : left, byMouse ? event.clientY : bottom);
  };
  return (
    <li data-kind={kind} onContextMenu={more}>
      <button type="button" className="pth-Panel-open" onClick={() => run(Command.open, { session: session.id })}>
        <span className="pth-Panel-dot" aria-hidden="true" />
        <span className="pth-Panel-text">
          <bdi className="pth-Panel-name">{session.name}</bdi>
          <span className="pth-Panel-quiet">{stateText(session, locked)}</span>
        </span>
      </button>
      <button
        type="button"
        className="pth-Panel-icon"
        aria-haspopup="menu"
        aria-label={`What can be done with ${session.name}`}
        title="Rename, restart, end…"
        onClick={more}
      >
        <ellipsesIcon.react tag="span" />
      </button>
    </li>
  );
}

function Others({ home, why }: Elsewhere): React.JSX.Element | null {
  return home === '' ? null : (
    <section className="pth-Panel-others" aria-label="Other workspaces">
      <h3>Other workspaces</h3>
      <p className="pth-Panel-quiet">
        {why}{' '}
        <a href={home} target="_blank" rel="noopener">
          Home page
        </a>
      </p>
    </section>
  );
}

/** What has changed since the last list, for who cannot see it. */
function useNews(sessions: Sessions): string {
  const before = React.useRef<readonly Session[] | null>(null);
  const news = React.useRef('');
  if (sessions.list !== before.current) {
    const said = changesOf(before.current, sessions.list);
    before.current = sessions.list;
    if (said !== '') {
      news.current = said;
    }
  }
  return news.current;
}
