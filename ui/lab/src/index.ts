/** JupyterLab in a workspace: presence, the cover of a locked page, announced ends. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, showErrorMessage } from '@jupyterlab/apputils';
import { IMainMenu } from '@jupyterlab/mainmenu';
import { ServerConnection } from '@jupyterlab/services';
import { ITerminalTracker } from '@jupyterlab/terminal';
import { listen, LOCKED, Watch } from '@persistent-terminal-hub/client';

import { Cover } from './cover.js';
import { install } from './patience.js';
import { Leftovers, reconnect } from './reconnect.js';
import { Warnings } from './warnings.js';

const ID = 'persistent-terminal-hub';
const LOCK_NOW = `${ID}:lock`;

const plugin: JupyterFrontEndPlugin<void> = {
  id: `${ID}:workspace`,
  description: 'Tells the server that somebody is there, covers a locked page, shows announced ends.',
  autoStart: true,
  optional: [ICommandPalette, IMainMenu, ITerminalTracker],
  activate: (
    app: JupyterFrontEnd,
    palette: ICommandPalette | null,
    menu: IMainMenu | null,
    terminals: ITerminalTracker | null
  ) => {
    const settings = app.serviceManager.serverSettings;
    const root = `${settings.baseUrl}persistent-terminals/`;
    // Our own requests do not wait for the lock to open: a beacon of yesterday says nothing of today.
    const own: ServerConnection.ISettings = { ...settings };
    const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
      ServerConnection.makeRequest(root + path, init, own);

    const cover = new Cover(next => `${root}lock?next=${encodeURIComponent(next)}`);
    const leftovers = new Leftovers();
    const watch = new Watch(`${root}api/status`, own.fetch, {
      cover: status => {
        leftovers.remember();
        cover.show(status);
      },
      uncover: () => {
        leftovers.close();
        cover.hide();
        void reconnect(app, terminals);
      },
      news: status => cover.update(status)
    });
    install(settings, watch);
    watch.start();

    listen(
      leaving => {
        ask('api/presence', { method: 'POST', keepalive: leaving })
          .then(response => response.status === LOCKED && watch.locked())
          .catch(() => undefined); // the next one may arrive
      },
      () => watch.covered
    );

    new Warnings(ask, () => watch.covered).start();

    app.commands.addCommand(LOCK_NOW, {
      label: 'Lock Workspace Now',
      caption: 'Ask for a fresh login before anything is shown again; processes go on',
      execute: async () => {
        try {
          const response = await ask('api/lock', { method: 'POST', body: '{}' });
          if (!response.ok && response.status !== LOCKED) {
            throw await ServerConnection.ResponseError.create(response);
          }
          watch.locked();
        } catch (error) {
          await showErrorMessage('The workspace was not locked', error as Error);
        }
      }
    });
    palette?.addItem({ command: LOCK_NOW, category: 'Workspace' });
    menu?.fileMenu.addGroup([{ command: LOCK_NOW }], 98);
  }
};

export default plugin;
