/** Asks in which session a text is to run. */

import { InputDialog } from '@jupyterlab/apputils';
import type { Session } from '@persistent-terminal-hub/client';

import { choices, type Choice } from './choice.js';

export async function ask(running: readonly Session[], before: string | null): Promise<Choice> {
  const known = running.findIndex(({ id }) => id === before);
  const busy = running[known]?.busy ? `In ${running[known].name} a program runs now, and would get the text. ` : '';
  const items = choices(running);
  const { value, button } = await InputDialog.getItem({
    title: 'Run in which session?',
    label: `${busy}It is remembered for this document; “Run in Another Persistent Terminal…” asks again.`,
    items: [...items],
    current: Math.max(0, known),
    okLabel: 'Run'
  });
  if (!button.accept || value === null) {
    return null;
  }
  return running[items.indexOf(value)] ?? 'new';
}
