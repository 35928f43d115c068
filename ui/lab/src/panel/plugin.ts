/** Adds the side panel "Persistent terminals". */

import { ILayoutRestorer, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { LabIcon, MenuSvg } from '@jupyterlab/ui-components';
import type { Session } from '@persistent-terminal-hub/client';

import type { Opener } from '../terminal/opener.js';
import { IOpener } from '../terminal/plugin.js';
import { addCommands, Command } from './commands.js';
import { Panel } from './panel.js';
import { ISessions, type Sessions } from './sessions.js';

/** A prompt in a frame that goes round. */
const icon = new LabIcon({
  name: 'persistent-terminal-hub:sessions',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g class="jp-icon3" fill="#616161">' +
    '<path d="M5 4h14a2 2 0 0 1 2 2v5h-2V7H5v11h7v2H5a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2z"/>' +
    '<path d="M6.4 9.4 7.8 8l3.6 3.6-3.6 3.6-1.4-1.4 2.2-2.2zM12 14h4v1.8h-4z"/>' +
    '<path d="M18.5 13.2a4.3 4.3 0 0 1 3 1.3l1.1-1.1v3.4h-3.4l1.2-1.2a2.7 2.7 0 1 0 .5 3.2l1.4.7a4.3 4.3 0 1 1-3.8-6.3z"/>' +
    '</g></svg>'
});

/** The hub's home page; empty: there is no hub. */
function home(): string {
  const prefix = PageConfig.getOption('hubPrefix');
  return prefix === '' ? '' : `${PageConfig.getOption('hubHost')}${prefix}home`;
}

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: 'persistent-terminal-hub:panel',
  description: 'Adds the side panel of persistent terminals.',
  autoStart: true,
  requires: [ISessions, IOpener],
  optional: [ILayoutRestorer, ICommandPalette],
  activate: (
    app,
    sessions: Sessions,
    opener: Opener,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null
  ) => {
    const { commands, shell } = app;
    addCommands(app, sessions, opener);
    palette?.addItem({ command: Command.create, category: 'Terminal' });

    const menu = (session: Session, x: number, y: number): void => {
      const shown = new MenuSvg({ commands });
      const args = { session: session.id };
      const verbs = session.state === 'ended' ? [] : [Command.rename];
      for (const command of [Command.open, ...verbs, Command.restart, Command.end, Command.download]) {
        shown.addItem({ command, args });
      }
      shown.aboutToClose.connect(() => window.setTimeout(() => shown.dispose()));
      shown.open(x, y);
    };
    const panel = new Panel({ sessions, commands, home: home(), menu });
    panel.id = 'pth-panel';
    panel.title.icon = icon;
    panel.title.caption = 'Persistent terminals';
    panel.node.setAttribute('role', 'region');
    panel.node.setAttribute('aria-label', 'Persistent terminals');
    shell.add(panel, 'left', { rank: 250, type: 'Persistent Terminals' });
    restorer?.add(panel, 'pth-panel');
  }
};
