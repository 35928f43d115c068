/** What the side panel does with sessions; each is a command, so that shortcuts and other extensions have it. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, InputDialog, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { lossText, nameProblem, type Session } from '@persistent-terminal-hub/client';

import type { Opener } from '../terminal/opener.js';
import type { Sessions } from './sessions.js';

export const Command = {
  create: 'persistent-terminals:create',
  open: 'persistent-terminals:open',
  rename: 'persistent-terminals:rename',
  restart: 'persistent-terminals:restart',
  end: 'persistent-terminals:end',
  download: 'persistent-terminals:download'
} as const;

/** Asks until there is a name that can be one, or nobody wants one any more (null). */
async function askName(title: string, name: string, placeholder: string, optional: boolean): Promise<string | null> {
  let text = name;
  let problem = '';
  for (;;) {
    const { value, button } = await InputDialog.getText({
      title,
      label: problem || 'Name',
      text,
      placeholder,
      selectionRange: text.length
    });
    if (!button.accept || value === null) {
      return null;
    }
    text = value.trim();
    problem = optional && text === '' ? '' : nameProblem(text);
    if (problem === '') {
      return text;
    }
  }
}

export function addCommands({ commands }: JupyterFrontEnd, sessions: Sessions, opener: Opener): void {
  const { api } = sessions;
  const add = (id: string, label: string, failed: string, work: (session: Session) => Promise<unknown>): void => {
    commands.addCommand(id, {
      label,
      isEnabled: args => args['session'] !== undefined,
      isVisible: args => args['session'] !== undefined,
      execute: async args => {
        try {
          await work(await api.get(String(args['session'])));
        } catch (error) {
          await showErrorMessage(failed, said(error));
        }
        await sessions.refresh();
      }
    });
  };

  commands.addCommand(Command.create, {
    label: 'New Persistent Terminal…',
    caption: 'A terminal session with a name of your choice',
    execute: async () => {
      try {
        const name = await askName('New session', '', 'the next free number', true);
        if (name !== null) {
          const made = await api.create(name === '' ? {} : { name });
          await opener.open({ name: made.name, session: made.id });
        }
      } catch (error) {
        await showErrorMessage('The session was not started', said(error));
      }
      await sessions.refresh();
    }
  });
  add(Command.open, 'Open', 'The session could not be opened', ({ name, id }) => opener.open({ name, session: id }));
  add(Command.rename, 'Rename…', 'The session was not renamed', async ({ name, id }) => {
    const wanted = await askName('Rename the session', name, '', false);
    if (wanted !== null && wanted !== name) {
      await api.rename(id, wanted);
    }
  });
  add(Command.restart, 'Restart…', 'The session was not restarted', async session => {
    const { name, id, state, argv, cwd } = session;
    const then = `Then ${argv.join(' ') || 'the shell'} is started in ${cwd || 'the workspace’s directory'}.`;
    const loss = state === 'ended' ? '' : `${lossText(session)} `;
    if (await sure(`Restart ${name}?`, loss + then, 'Restart', state !== 'ended')) {
      const shown = opener.shown({ name, session: id });
      const made = await api.restart(id);
      const place = shown ? ({ mode: 'tab-after', ref: shown.id } as const) : undefined;
      await opener.open({ name: made.name, session: made.id }, place);
      shown?.dispose();
    }
  });
  add(Command.end, 'End…', 'The session was not ended', async session => {
    const { name, id, state } = session;
    const verb = state === 'ended' ? 'Forget' : 'End';
    if (await sure(`${verb} ${name}?`, lossText(session), verb, true)) {
      await api.end(id);
      opener.shown({ name, session: id })?.dispose();
    }
  });
  add(Command.download, 'Download Output as Text', 'The output could not be had', async ({ id }) => {
    const link = document.createElement('a');
    link.href = api.outputUrl(id);
    link.download = '';
    link.click();
  });
}

async function sure(title: string, body: string, label: string, loses: boolean): Promise<boolean> {
  const yes = loses ? Dialog.warnButton({ label }) : Dialog.okButton({ label });
  const { button } = await showDialog({ title, body, buttons: [Dialog.cancelButton(), yes], defaultButton: loses ? 0 : 1 });
  return button.accept;
}

function said(error: unknown): Error {
  const { message, hint } = error as { readonly message?: string; readonly hint?: string };
  return new Error([message, hint].filter(Boolean).join(' '));
}
