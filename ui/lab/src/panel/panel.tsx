/** The side panel: every session of the workspace, how it is, and what can be done with it. */

import type { CommandRegistry } from '@lumino/commands';
import { ReactWidget, addIcon, ellipsesIcon, refreshIcon } from '@jupyterlab/ui-components';
import { kindOf, span, stateText, type OtherWorkspace, type Session } from '@persistent-terminal-hub/client';
import * as React from 'react';

import { Command } from './commands.js';
import { changesOf, found, linesOf } from './list.js';
import { Others, pageOf } from './others.js';
import type { Sessions } from './sessions.js';

/** From so many sessions on there is a field to find one. */
const MANY = 10;

export interface Around {
  readonly sessions: Sessions;
  readonly commands: CommandRegistry;
  /** The hub's home page; empty: there is no hub, and no other workspace. */
  readonly home: string;
  /** Show what can be done with a session, at this place of the window. */
  menu(session: Session, x: number, y: number): void;
}

export class Panel extends ReactWidget {
  private readonly others: Others | null;

  constructor(private readonly around: Around) {
    super();
    this.others = around.home === '' ? null : new Others(around.sessions.api, () => this.isVisible);
    this.others?.changed.connect(() => this.update());
    this.addClass('pth-Panel');
    around.sessions.changed.connect(() => this.update());
    around.sessions.look(() => this.isVisible);
  }

  protected override onAfterShow(): void {
    this.refresh();
    this.update();
  }

  private refresh(): void {
    void this.around.sessions.refresh();
    void this.others?.refresh();
  }

  protected override render(): React.JSX.Element {
    return <List {...this.around} others={this.others} refresh={() => this.refresh()} />;
  }
}

interface ListProps extends Around {
  readonly others: Others | null;
  readonly refresh: () => void;
}

function List({ sessions, commands, home, menu, others, refresh }: ListProps): React.JSX.Element {
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
        <button type="button" className="pth-Panel-icon" title="Look again" aria-label="Look again" onClick={refresh}>
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
      {others && <Elsewhere others={others} home={home} wanted={wanted} />}
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

interface ElsewhereProps {
  readonly others: Others;
  readonly home: string;
  readonly wanted: string;
}

function Elsewhere({ others: { list, problem }, home, wanted }: ElsewhereProps): React.JSX.Element {
  return (
    <section className="pth-Panel-others" aria-label="Other workspaces">
      <h3>Other workspaces</h3>
      {problem && (
        <p className="pth-Panel-problem">
          <strong>{problem.message}</strong> {problem.hint}
        </p>
      )}
      {list === null && !problem && <p className="pth-Panel-quiet">Asking the hub…</p>}
      {list?.map(one => <Other key={one.name} workspace={one} wanted={wanted} />)}
      <p className="pth-Panel-quiet">
        {list?.length === 0 && 'There is no other one. '}
        <a href={home} target="_blank" rel="noopener">
          Home page
        </a>
      </p>
    </section>
  );
}

/** Its sessions open on its own terminal page, in another tab of the browser. */
function Other({ workspace, wanted }: { readonly workspace: OtherWorkspace; readonly wanted: string }): React.JSX.Element {
  const { title, badge, summary, state } = workspace;
  const running = state === 'running' || state === 'locked';
  const sessions = found(workspace.sessions, wanted);
  return (
    <div className="pth-Panel-other">
      <p>
        <a href={running ? pageOf(workspace) : workspace.url} target="_blank" rel="noopener">
          <bdi>{title}</bdi>
        </a>{' '}
        <span className="pth-Panel-quiet">
          {badge}
          {summary && `: ${summary}`}
        </span>
      </p>
      {sessions.length > 0 && (
        <ul aria-label={`Sessions of ${title}`}>
          {sessions.map(session => (
            <li key={session.id} data-kind={session.state}>
              <a className="pth-Panel-open" href={pageOf(workspace, session)} target="_blank" rel="noopener">
                <span className="pth-Panel-dot" aria-hidden="true" />
                <span className="pth-Panel-text">
                  <bdi className="pth-Panel-name">{session.name}</bdi>
                  <span className="pth-Panel-quiet">{session.text}</span>
                </span>
              </a>
            </li>
          ))}
        </ul>
      )}
    </div>
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
