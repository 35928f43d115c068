/** The plugins that take the place of JupyterLab's own terminals and their manager. */

import { ILayoutRestorer, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager, WidgetTracker } from '@jupyterlab/apputils';
import { ISearchProviderRegistry } from '@jupyterlab/documentsearch';
import { ILauncher } from '@jupyterlab/launcher';
import { IMainMenu } from '@jupyterlab/mainmenu';
import { IRunningSessionManagers } from '@jupyterlab/running';
import {
  IConnectionStatus,
  IServerSettings,
  ITerminalManager,
  Terminal,
  TerminalManager,
  type ServerConnection,
  type ServiceManagerPlugin
} from '@jupyterlab/services';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITerminalTracker } from '@jupyterlab/terminal';
import { ITranslator } from '@jupyterlab/translation';
import { Token } from '@lumino/coreutils';

import { addCommands, Command } from './commands.js';
import { Hint } from './hint.js';
import { PersistentTerminalManager } from './manager.js';
import { addMenus, addRunning } from './menus.js';
import { Opener, type Shown } from './opener.js';
import { TerminalSearch } from './search.js';
import { TERMINAL, TerminalSettings } from './settings.js';

/** Opens terminals; null where the server has none. */
export const IOpener = new Token<Opener>('persistent-terminal-hub:IOpener', 'Opens persistent terminals.');

export const managerPlugin: ServiceManagerPlugin<Terminal.IManager> = {
  id: 'persistent-terminal-hub:terminal-manager',
  description: 'Terminals over the stream protocol of persistent sessions.',
  autoStart: true,
  provides: ITerminalManager,
  optional: [IServerSettings, IConnectionStatus],
  activate: (_, serverSettings: ServerConnection.ISettings | null, status: IConnectionStatus | null) => {
    const standby = (): boolean | 'when-hidden' => status?.isConnected === false || 'when-hidden';
    const options: TerminalManager.IOptions = serverSettings ? { serverSettings, standby } : { standby };
    return Terminal.isAvailable() ? new PersistentTerminalManager(options) : new TerminalManager.NoopManager();
  }
};

export const terminalPlugin: JupyterFrontEndPlugin<ITerminalTracker> = {
  id: TERMINAL,
  description: 'Shows persistent terminals, in the place of JupyterLab’s own.',
  autoStart: true,
  provides: ITerminalTracker,
  requires: [ISettingRegistry, ITranslator],
  optional: [
    ICommandPalette,
    ILauncher,
    ILayoutRestorer,
    IMainMenu,
    IThemeManager,
    IRunningSessionManagers,
    ISearchProviderRegistry,
    IStatusBar
  ],
  activate: (
    app,
    registry: ISettingRegistry,
    translator: ITranslator,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null,
    menu: IMainMenu | null,
    themes: IThemeManager | null,
    running: IRunningSessionManagers | null,
    searches: ISearchProviderRegistry | null,
    statusBar: IStatusBar | null
  ) => {
    const trans = translator.load('jupyterlab');
    const tracker = new WidgetTracker<Shown>({ namespace: 'terminal' });
    const { terminals } = app.serviceManager;
    if (!(terminals instanceof PersistentTerminalManager)) {
      console.warn('There are no persistent terminals: the server has none, or another extension brings its own.');
      return tracker;
    }
    const settings = new TerminalSettings(registry, () => {
      tracker.forEach(({ content }) =>
        Object.entries(settings.options).forEach(([key, value]) => content.setOption(key as 'theme', value as 'inherit'))
      );
    });
    settings.load().catch(error => console.error('The settings of terminals could not be read:', error));
    themes?.themeChanged.connect(() =>
      tracker.forEach(({ content }) => content.setOption('theme', content.getOption('theme')))
    );

    const opener = new Opener(app, terminals, tracker, settings, trans);
    openers.set(tracker, opener);
    addCommands(app, tracker, opener, settings, trans);
    if (restorer) {
      void restorer.restore(tracker, {
        command: Command.createNew,
        args: ({ content: { session } }) => ({ name: session.name, ...(session.id ? { session: session.id } : {}) }),
        name: ({ content: { session } }) => session.name
      });
    }
    addMenus(app, tracker, trans, { palette, launcher, menu });
    if (running) {
      addRunning(app, running, terminals, trans);
    }
    searches?.add('terminal', TerminalSearch);
    if (statusBar) {
      new Hint(statusBar, tracker, trans);
    }
    return tracker;
  }
};

const openers = new WeakMap<ITerminalTracker, Opener>();

/** The same for other plugins of ours. */
export const openerPlugin: JupyterFrontEndPlugin<Opener> = {
  id: 'persistent-terminal-hub:opener',
  description: 'Opens persistent terminals.',
  autoStart: true,
  provides: IOpener,
  requires: [ITerminalTracker],
  activate: (_, tracker: ITerminalTracker) => {
    const opener = openers.get(tracker);
    if (!opener) {
      throw new Error('There are no persistent terminals.');
    }
    return opener;
  }
};
