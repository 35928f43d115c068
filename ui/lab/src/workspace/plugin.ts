/** The workspace around the page: presence, the cover of a locked page, announced ends. */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, showErrorMessage } from '@jupyterlab/apputils';
import { IMainMenu } from '@jupyterlab/mainmenu';
import { listen, Watch } from '@persistent-terminal-hub/client';

import { ISessions, type Sessions } from '../panel/sessions.js';
import { PersistentTerminalManager } from '../terminal/manager.js';
import { Cover } from './cover.js';
import { install } from './patience.js';
import { Leftovers, reconnect } from './reconnect.js';
import { showSaid, showWarnings } from './warnings.js';

const LOCK_NOW = 'persistent-terminal-hub:lock';

export const workspacePlugin: JupyterFrontEndPlugin<void> = {
  id: 'persistent-terminal-hub:workspace',
  description: 'Tells the server that somebody is there, covers a locked page, shows announced ends.',
  autoStart: true,
  requires: [ISessions],
  optional: [ICommandPalette, IMainMenu],
  activate: (app, sessions: Sessions, palette: ICommandPalette | null, menu: IMainMenu | null) => {
    const { serverSettings: settings, terminals } = app.serviceManager;
    const { api } = sessions;
    // As it is before `install`: a question whether it is locked does not wait for the lock to open.
    const { fetch } = settings;

    const cover = new Cover(next => `${settings.baseUrl}persistent-terminals/lock?next=${encodeURIComponent(next)}`);
    const leftovers = new Leftovers();
    const watch = new Watch(`${api.root}status`, fetch, {
      cover: status => {
        leftovers.remember();
        cover.show(status);
        sessions.setLocked(true);
      },
      uncover: () => {
        leftovers.close();
        cover.hide();
        sessions.setLocked(false);
        if (terminals instanceof PersistentTerminalManager) {
          terminals.retry();
        }
        void reconnect(app);
      },
      news: status => cover.update(status)
    });
    install(settings, watch);
    watch.start();
    sessions.refused.connect(() => watch.locked());
    sessions.failed.connect(() => watch.hint());
    if (terminals instanceof PersistentTerminalManager) {
      terminals.locked.connect(() => watch.locked());
      terminals.moved.connect(() => sessions.soon());
      terminals.said.connect((_, saying) => showSaid(sessions, saying));
    }

    listen(
      leaving =>
        void api.presence(leaving).catch((error: { readonly kind?: string }) => {
          if (error.kind === 'locked') {
            watch.locked();
          } // else the next one may arrive
        }),
      () => watch.covered
    );
    showWarnings(sessions);

    app.commands.addCommand(LOCK_NOW, {
      label: 'Lock Workspace Now',
      caption: 'Ask for a fresh login before anything is shown again; processes go on',
      execute: async () => {
        try {
          await api.lock();
          watch.locked();
        } catch (error) {
          if ((error as { readonly kind?: string }).kind === 'locked') {
            watch.locked();
          } else {
            await showErrorMessage('The workspace was not locked', error as Error);
          }
        }
      }
    });
    palette?.addItem({ command: LOCK_NOW, category: 'Workspace' });
    menu?.fileMenu.addGroup([{ command: LOCK_NOW }], 98);
  }
};
