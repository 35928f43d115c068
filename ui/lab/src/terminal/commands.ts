/** JupyterLab's own commands for terminals, by their own names, so that menus, shortcuts and extensions find them. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, showErrorMessage } from '@jupyterlab/apputils';
import type { ITerminal } from '@jupyterlab/terminal';
import type { TranslationBundle } from '@jupyterlab/translation';
import { copyIcon, pasteIcon, refreshIcon, terminalIcon } from '@jupyterlab/ui-components';

import type { Opener, Shown, Tracker } from './opener.js';
import type { TerminalSettings } from './settings.js';

export const Command = {
  createNew: 'terminal:create-new',
  open: 'terminal:open',
  refresh: 'terminal:refresh',
  copy: 'terminal:copy',
  paste: 'terminal:paste',
  shutDown: 'terminal:shut-down',
  increaseFont: 'terminal:increase-font',
  decreaseFont: 'terminal:decrease-font',
  setTheme: 'terminal:set-theme'
} as const;

/** Pixels. */
const SMALLEST = 9;
const LARGEST = 72;

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

export function addCommands(
  app: JupyterFrontEnd,
  tracker: Tracker,
  opener: Opener,
  settings: TerminalSettings,
  trans: TranslationBundle
): void {
  const { commands, shell } = app;
  const current = (): Shown | null => {
    const { currentWidget } = tracker;
    return currentWidget !== null && currentWidget === shell.currentWidget ? currentWidget : null;
  };
  const trying = (work: () => Promise<unknown>, failed: string) => async (): Promise<void> => {
    try {
      await work();
    } catch (error) {
      await showErrorMessage(failed, error as Error);
    }
  };

  commands.addCommand(Command.createNew, {
    label: args => (args['isPalette'] ? trans.__('New Terminal') : trans.__('Terminal')),
    caption: trans.__('Start a new terminal session'),
    icon: args => (args['isPalette'] ? undefined : terminalIcon),
    execute: async args => {
      try {
        return await opener.create({ name: text(args['name']), cwd: text(args['cwd']), session: text(args['session']) });
      } catch (error) {
        const { message, hint } = error as { readonly message?: string; readonly hint?: string };
        await showErrorMessage(trans.__('The terminal was not started'), [message, hint].filter(Boolean).join(' '));
        return undefined;
      }
    },
    describedBy: { args: described({ name: 'Name of the session', cwd: 'Directory of a new session' }) }
  });
  commands.addCommand(Command.open, {
    label: trans.__('Open a terminal by its `name`.'),
    execute: async args => {
      const name = text(args['name']);
      return name === undefined ? undefined : opener.open({ name, session: text(args['session']) });
    },
    describedBy: { args: described({ name: 'Name of the session' }) }
  });
  commands.addCommand(Command.refresh, {
    label: trans.__('Refresh Terminal'),
    caption: trans.__('Connect the current terminal at once, and draw it anew'),
    icon: args => (args['isPalette'] ? undefined : refreshIcon.bindprops({ stylesheet: 'menuItem' })),
    isEnabled: () => current() !== null,
    execute: async () => {
      const widget = current();
      if (widget) {
        widget.content.activate();
        // What stands above the terminal says why not.
        await widget.content.refresh().catch(() => undefined);
      }
    }
  });
  commands.addCommand(Command.copy, {
    label: trans.__('Copy'),
    icon: copyIcon.bindprops({ stylesheet: 'menuItem' }),
    isEnabled: () => current()?.content.hasSelection() ?? false,
    execute: () => {
      const terminal = current()?.content;
      const selected = terminal?.getSelection();
      if (selected) {
        Clipboard.copyToSystem(selected);
        terminal?.activate();
      }
    }
  });
  commands.addCommand(Command.paste, {
    label: trans.__('Paste'),
    icon: pasteIcon.bindprops({ stylesheet: 'menuItem' }),
    isEnabled: () => current() !== null,
    execute: trying(async () => {
      const terminal = current()?.content;
      terminal?.paste(await navigator.clipboard.readText());
      terminal?.activate();
    }, trans.__('Nothing was pasted: the browser does not give the clipboard'))
  });
  commands.addCommand(Command.shutDown, {
    label: trans.__('Shutdown Terminal'),
    isEnabled: () => current() !== null,
    execute: trying(async () => current()?.content.session.shutdown(), trans.__('The session was not ended'))
  });

  const font = (by: number): (() => Promise<void>) =>
    trying(async () => {
      const size = (settings.options.fontSize ?? 13) + by;
      if (size >= SMALLEST && size <= LARGEST) {
        await settings.set('fontSize', size);
      }
    }, trans.__('The font size was not kept'));
  commands.addCommand(Command.increaseFont, { label: trans.__('Increase Terminal Font Size'), execute: font(1) });
  commands.addCommand(Command.decreaseFont, { label: trans.__('Decrease Terminal Font Size'), execute: font(-1) });

  const themes: Readonly<Record<ITerminal.Theme, string>> = {
    inherit: trans.__('Inherit'),
    light: trans.__('Light'),
    dark: trans.__('Dark')
  };
  commands.addCommand(Command.setTheme, {
    label: args => {
      const named = themes[args['theme'] as ITerminal.Theme] as string | undefined;
      if (named === undefined) {
        return trans.__('Set terminal theme to the provided `theme`.');
      }
      return args['isPalette'] ? trans.__('Use Terminal Theme: %1', named) : named;
    },
    caption: trans.__('Set the terminal theme'),
    isToggled: args => args['theme'] === settings.options.theme,
    execute: async args => {
      const theme = text(args['theme']);
      if (theme !== undefined) {
        await trying(() => settings.set('theme', theme), trans.__('The theme was not kept'))();
        commands.notifyCommandChanged(Command.setTheme);
      }
    },
    describedBy: { args: described({ theme: 'inherit, light or dark' }) }
  });

  const notify = (): void =>
    [Command.refresh, Command.copy, Command.paste, Command.shutDown].forEach(id => commands.notifyCommandChanged(id));
  tracker.currentChanged.connect(notify);
  shell.currentChanged?.connect(notify);
}

function described(fields: Readonly<Record<string, string>>) {
  return {
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(fields).map(([name, description]) => [name, { type: 'string', description }])
    )
  };
}
