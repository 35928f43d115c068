/** "Run in Persistent Terminal": a cell's or a file's text goes to a session, as if it had been pasted there. */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification, showErrorMessage } from '@jupyterlab/apputils';
import { LabIcon, terminalIcon } from '@jupyterlab/ui-components';
import type { Widget } from '@lumino/widgets';
import type { Session } from '@persistent-terminal-hub/client';

import { ISessions, type Sessions } from '../panel/sessions.js';
import type { Opener } from '../terminal/opener.js';
import { IOpener } from '../terminal/plugin.js';
import { ask } from './ask.js';
import { decided, freeName, remember, remembered, type Choice } from './choice.js';
import { send } from './send.js';
import { sourceOf, textOf, type ContentLike } from './text.js';

const RUN = 'persistent-terminals:run';
const RUN_ELSEWHERE = 'persistent-terminals:run-elsewhere';

interface Document extends Widget {
  readonly content?: ContentLike;
  readonly context?: { readonly path: string };
}

const icon = new LabIcon({ name: 'persistent-terminal-hub:run', svgstr: terminalIcon.svgstr });

export const runPlugin: JupyterFrontEndPlugin<void> = {
  id: 'persistent-terminal-hub:run',
  description: 'Runs a cell or a selection in a persistent terminal.',
  autoStart: true,
  requires: [ISessions, IOpener],
  optional: [ICommandPalette],
  activate: (app, sessions: Sessions, opener: Opener, palette: ICommandPalette | null) => {
    const { commands, shell } = app;
    const current = (): Document | null => shell.currentWidget as Document | null;

    const run = async (anew: boolean): Promise<void> => {
      const document = current();
      const text = textOf(sourceOf(document?.content) ?? '');
      if (document === null || text === '') {
        Notification.info('There is nothing to run: select a cell of code, or some text.', { autoClose: 4_000 });
        return;
      }
      try {
        const path = document.context?.path ?? document.id;
        const session = await choose(path, anew);
        if (session !== null) {
          remember(path, session.id);
          const place = { mode: 'split-right', ref: document.id } as const;
          const terminal = await opener.open({ name: session.name, session: session.id }, place);
          // The keyboard stays where the text came from, unless that would hide the terminal.
          shell.activateById(document.id);
          if (!terminal.isVisible) {
            shell.activateById(terminal.id);
          }
          await send(terminal.content, text);
        }
      } catch (error) {
        const { message, hint } = error as { readonly message?: string; readonly hint?: string };
        await showErrorMessage('It was not run', new Error([message, hint].filter(Boolean).join(' ')));
      }
      await sessions.refresh();
    };

    const choose = async (path: string, anew: boolean): Promise<Session | null> => {
      const list = await sessions.api.list();
      const running = list.filter(({ state }) => state !== 'ended');
      const before = remembered(path);
      const sure: Choice | 'ask' = anew ? 'ask' : decided(running, before);
      const choice = sure === 'ask' ? await ask(running, before) : sure;
      return choice === 'new' ? sessions.api.create({ name: freeName(list) }) : choice;
    };

    for (const [command, label, anew] of [
      [RUN, 'Run in Persistent Terminal', false],
      [RUN_ELSEWHERE, 'Run in Another Persistent Terminal…', true]
    ] as const) {
      commands.addCommand(command, {
        label: args => (args['toolbar'] ? '' : label),
        caption: `${label}: the selection, the cell, or the line; it goes on when the kernel ends`,
        icon: args => (anew && !args['toolbar'] ? undefined : icon),
        isEnabled: () => sourceOf(current()?.content) !== null,
        execute: () => run(anew)
      });
      palette?.addItem({ command, category: 'Terminal' });
    }
    shell.currentChanged?.connect(() => [RUN, RUN_ELSEWHERE].forEach(id => commands.notifyCommandChanged(id)));
  }
};
