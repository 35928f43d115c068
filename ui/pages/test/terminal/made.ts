import { readSession, type Session } from '@persistent-terminal-hub/client';

/** A session as the server tells of it. */
export function session(id: string, more: object = {}): Session {
  const made = readSession({ id, name: `name-${id}`, state: 'dormant', ...more });
  if (!made) {
    throw new Error('no session');
  }
  return made;
}
