/** Opens terminals: of sessions that run, have ended, or are to be started. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, showErrorMessage, type WidgetTracker } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { terminalIcon } from '@jupyterlab/ui-components';
import type { DockLayout } from '@lumino/widgets';
import { ApiError, type Session } from '@persistent-terminal-hub/client';

import type { PersistentConnection } from './connection.js';
import type { PersistentTerminalManager } from './manager.js';
import type { TerminalSettings } from './settings.js';
import { PersistentTerminal } from './widget.js';

export type Shown = MainAreaWidget<PersistentTerminal>;
export type Tracker = WidgetTracker<Shown>;

export interface Wanted {
  readonly name?: string | undefined;
  readonly cwd?: string | undefined;
  /** Its id: that session and no other of its name. */
  readonly session?: string | undefined;
}

/** Where on the page. */
export interface Place {
  readonly mode: DockLayout.InsertMode;
  readonly ref: string;
}

export class Opener {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly manager: PersistentTerminalManager,
    private readonly tracker: Tracker,
    private readonly settings: TerminalSettings,
    private readonly trans: TranslationBundle
  ) {}

  /** A terminal of the session of this name or id; a new session if there is none, or nobody says which. */
  async create(wanted: Wanted, place?: Place): Promise<Shown> {
    const found = await this.find(wanted);
    if (found === 'unreachable' && wanted.name !== undefined) {
      // The workspace does not answer now. The terminal says so, and goes on when it does.
      const known = { name: wanted.name, id: wanted.session };
      const session = known.id
        ? this.manager.attach({ name: known.name, id: known.id })
        : this.manager.connectTo({ model: { name: known.name } });
      return this.show(session, null, place);
    }
    if (typeof found === 'object' && found !== null) {
      return this.show(this.manager.attach(found), found.state === 'ended' ? found : null, place);
    }
    const cwd = wanted.cwd === undefined ? {} : { cwd: this.app.serviceManager.contents.localPath(wanted.cwd) };
    const name = wanted.name === undefined ? {} : { name: wanted.name };
    return this.show(this.manager.attach(await this.manager.api.create({ ...name, ...cwd })), null, place);
  }

  /** The terminal that shows it, else a new one. */
  async open(wanted: Wanted, place?: Place): Promise<Shown> {
    const shown = this.shown(wanted);
    if (shown) {
      this.app.shell.activateById(shown.id);
      return shown;
    }
    return this.create(wanted, place);
  }

  /** The terminal that shows it. */
  shown({ name, session }: Wanted): Shown | undefined {
    return this.tracker.find(({ content }) =>
      session === undefined || content.session.id === null ? content.session.name === name : content.session.id === session
    );
  }

  private async find({ name, session }: Wanted): Promise<Session | 'unreachable' | null> {
    for (const key of [session, name]) {
      try {
        const found = key === undefined ? null : await this.manager.api.get(key);
        // An ended one is shown only to who asks for it by its id: its name is free.
        if (found !== null && (found.state !== 'ended' || key === session)) {
          return found;
        }
      } catch (error) {
        if (!(error instanceof ApiError) || error.kind !== 'missing') {
          return 'unreachable';
        }
      }
    }
    return null;
  }

  private show(session: PersistentConnection, past: Session | null, place?: Place): Shown {
    const { app, tracker, trans } = this;
    const content = new PersistentTerminal({
      session,
      past,
      api: this.manager.api,
      options: this.settings.options,
      trans,
      again: widget => void this.again(widget, main)
    });
    content.title.icon = terminalIcon;
    const main = new MainAreaWidget({ content, reveal: content.ready });
    app.shell.add(main, 'main', { type: 'Terminal', ...place });
    void tracker.add(main);
    session.renamed.connect(() => void tracker.save(main));
    app.shell.activateById(main.id);
    return main;
  }

  /** The same program, in the same directory, in the same place on the page. */
  private async again({ session }: PersistentTerminal, main: Shown): Promise<void> {
    try {
      let made: Session;
      try {
        made = await this.manager.api.restart(session.id ?? session.name);
      } catch (error) {
        if (!(error instanceof ApiError) || error.kind !== 'missing') {
          throw error;
        }
        made = await this.manager.api.create({ name: session.name }); // forgotten; its name is known
      }
      await this.create({ name: made.name, session: made.id }, { mode: 'tab-after', ref: main.id });
      main.dispose();
    } catch (error) {
      await showErrorMessage(this.trans.__('The session was not started'), error as Error);
    }
  }
}
