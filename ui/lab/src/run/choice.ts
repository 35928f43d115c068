/** In which session a document's text is to run. */

import { stateText, type Session } from '@persistent-terminal-hub/client';

/** How a session is called that is made because there is none. */
export const NAME = 'notebook';
const KEY = 'pth-run:';
const NEW = 'A new session';

/** Null: nobody wants it any more; `new`: one is to be made. */
export type Choice = Session | 'new' | null;

/** Remembers, for as long as the tab of the browser lives, what was chosen for a document. */
export function remembered(path: string): string | null {
  try {
    return sessionStorage.getItem(KEY + path);
  } catch {
    return null;
  }
}

export function remember(path: string, session: string): void {
  try {
    sessionStorage.setItem(KEY + path, session);
  } catch {
    // it is asked again
  }
}

/** What needs no question: the session that was chosen before, unless a program runs there. */
export function decided(running: readonly Session[], before: string | null): Choice | 'ask' {
  if (running.length === 0) {
    return 'new';
  }
  const known = running.find(({ id }) => id === before);
  return known && !known.busy ? known : 'ask';
}

/** As the question lists them; each line once. */
export function choices(running: readonly Session[]): readonly string[] {
  return [...running.map(session => `${session.name} – ${stateText(session)}`), NEW];
}

/** The first free name. */
export function freeName(taken: readonly Session[]): string {
  const names = new Set(taken.filter(({ state }) => state !== 'ended').map(({ name }) => name));
  let name = NAME;
  for (let number = 2; names.has(name); number += 1) {
    name = `${NAME}-${number}`;
  }
  return name;
}
