/** Where terminals are found: launcher, menus, palette, the panel of what runs. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import type { IMainMenu } from '@jupyterlab/mainmenu';
import type { IRunningSessionManagers, IRunningSessions } from '@jupyterlab/running';
import type { TranslationBundle } from '@jupyterlab/translation';
import { terminalIcon } from '@jupyterlab/ui-components';
import { Menu } from '@lumino/widgets';

import { Command } from './commands.js';
import type { PersistentTerminalManager } from './manager.js';
import type { Shown, Tracker } from './opener.js';

export interface Places {
  readonly palette: ICommandPalette | null;
  readonly launcher: ILauncher | null;
  readonly menu: IMainMenu | null;
}

const THEMES = ['inherit', 'light', 'dark'] as const;

export function addMenus(
  { commands }: JupyterFrontEnd,
  tracker: Tracker,
  trans: TranslationBundle,
  { palette, launcher, menu }: Places
): void {
  const category = trans.__('Terminal');
  for (const command of [Command.createNew, Command.refresh, Command.increaseFont, Command.decreaseFont]) {
    palette?.addItem({ command, category, args: { isPalette: true } });
  }
  for (const theme of THEMES) {
    palette?.addItem({ command: Command.setTheme, category, args: { theme, isPalette: true } });
  }
  launcher?.add({ command: Command.createNew, category: trans.__('Other'), rank: 0 });
  if (menu) {
    const themes = new Menu({ commands });
    themes.title.label = trans._p('menu', 'Terminal Theme');
    THEMES.forEach(theme => themes.addItem({ command: Command.setTheme, args: { theme, isPalette: false } }));
    menu.settingsMenu.addGroup(
      [
        { command: Command.increaseFont },
        { command: Command.decreaseFont },
        { type: 'submenu', submenu: themes }
      ],
      40
    );
    menu.fileMenu.newMenu.addItem({ command: Command.createNew, rank: 20 });
    menu.fileMenu.closeAndCleaners.add({
      id: Command.shutDown,
      isEnabled: widget => tracker.currentWidget !== null && tracker.has(widget as Shown)
    });
  }
}

export function addRunning(
  { commands }: JupyterFrontEnd,
  running: IRunningSessionManagers,
  manager: PersistentTerminalManager,
  trans: TranslationBundle
): void {
  const item = (name: string): IRunningSessions.IRunningItem => ({
    open: () => void commands.execute(Command.open, { name }),
    icon: () => terminalIcon,
    label: () => `terminals/${name}`,
    shutdown: () => void manager.shutdown(name)
  });
  running.add({
    name: trans.__('Terminals'),
    supportsMultipleViews: false,
    running: () => [...manager.running()].map(({ name }) => item(name)),
    shutdownAll: () => void manager.shutdownAll(),
    refreshRunning: () => void manager.refreshRunning(),
    runningChanged: manager.runningChanged,
    shutdownLabel: trans.__('Shut Down'),
    shutdownAllLabel: trans.__('Shut Down All'),
    shutdownAllConfirmationText: trans.__(
      'Are you sure you want to permanently shut down all running terminals?'
    )
  });
}
