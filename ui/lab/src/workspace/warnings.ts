/** Shows once what the server announces: a session that ends soon, with a way to put it off. */

import { Notification } from '@jupyterlab/apputils';
import { announcedIn, ApiError, fresh, sentence, span, type Announced } from '@persistent-terminal-hub/client';

import type { Sessions } from '../panel/sessions.js';
import type { Saying } from '../terminal/connection.js';

/** Seconds that the button asks for; the server gives what the administrator allows. */
const EXTEND = 24 * 3600;

/** Each list that arrives is looked through. */
export function showWarnings(sessions: Sessions): void {
  const shown = new Set<string>();
  sessions.changed.connect(({ list, locked }) => {
    if (list !== null && !locked) {
      fresh(announcedIn(list), shown).forEach(one => show(sessions, one));
    }
  });
}

/** What a session's connection was told. An end that is announced is in the list, with a way to put it off. */
export function showSaid(sessions: Sessions, { code, message }: Saying): void {
  if (code === 'ttl' || code === 'max_age') {
    void sessions.refresh(true);
  } else if (!sessions.locked && !Notification.manager.notifications.some(one => one.message === message)) {
    Notification.warning(message, { autoClose: false });
  }
}

function show(sessions: Sessions, one: Announced): void {
  const id = Notification.warning(sentence(one), {
    autoClose: false,
    actions: [
      {
        label: 'Extend',
        caption: 'Ask for another day, within the administrator’s maximum',
        callback: event => {
          event.preventDefault(); // it stays, and says what came of it
          void extend(sessions, one, id);
        }
      }
    ]
  });
}

async function extend(sessions: Sessions, one: Announced, id: string): Promise<void> {
  const say = (type: 'success' | 'error', message: string): void => {
    Notification.update({ id, message, type, actions: [], autoClose: type === 'success' ? 5_000 : false });
  };
  try {
    const granted = await sessions.api.extend(one.id, EXTEND);
    const long = granted > 0 ? ` by ${span(granted)}` : '';
    say('success', `Terminal session ${one.name} was extended${long}.`);
    void sessions.refresh();
  } catch (error) {
    const why = error instanceof ApiError ? `${error.message} ${error.hint}`.trim() : '';
    say('error', why || `Terminal session ${one.name} was not extended.`);
  }
}
