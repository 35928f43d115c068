/**
 * A workspace that does not answer is said once, without a dialog, and no longer than that is so.
 *
 * JupyterLab's own dialogs stay when all is well again; under a hub its dialog says that the server does not run,
 * offers to start it, and stops asking until somebody answers. But nobody knows that; only the hub may say it.
 */

import { IConnectionLost, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';

import { ISessions, type Sessions } from '../panel/sessions.js';
import { reconnect } from './reconnect.js';

export const lostPlugin: JupyterFrontEndPlugin<IConnectionLost> = {
  id: 'persistent-terminal-hub:connection-lost',
  description: 'Says that the workspace does not answer, for as long as it does not.',
  autoStart: true,
  provides: IConnectionLost,
  requires: [ISessions],
  activate: (app, sessions: Sessions) => {
    const prefix = PageConfig.getOption('hubPrefix');
    const home = prefix === '' ? '' : `${PageConfig.getOption('hubHost')}${prefix}home`;
    const actions =
      home === ''
        ? []
        : [
            {
              label: 'Home page',
              caption: 'Your workspaces, and whether they run',
              callback: (event: MouseEvent) => {
                event.preventDefault(); // it stays until the workspace answers
                window.open(home, '_blank', 'noopener');
              }
            }
          ];
    let shown: { readonly id: string; readonly since: string; text: string } | null = null;

    sessions.changed.connect(({ problem, locked }) => {
      if (shown === null) {
        return;
      }
      if (problem === null || problem.kind === 'locked' || locked) {
        Notification.dismiss(shown.id);
        shown = null;
        void reconnect(app);
        return;
      }
      const text = `${problem.message} (since ${shown.since}) ${problem.hint}`;
      if (text !== shown.text) {
        shown.text = text;
        Notification.update({ id: shown.id, message: text, type: 'warning', autoClose: false, actions });
      }
    });

    return async () => {
      if (shown !== null || sessions.locked) {
        return;
      }
      await sessions.refresh(true);
      // One request that failed while others are answered is no loss.
      if (shown === null && sessions.problem !== null && sessions.problem.kind === 'unreachable') {
        const since = new Date().toLocaleTimeString();
        const { message, hint } = sessions.problem;
        const text = `${message} (since ${since}) ${hint}`;
        shown = { id: Notification.warning(text, { autoClose: false, actions }), since, text };
      }
    };
  }
};
