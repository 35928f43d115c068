/** Shows once what the server announces: a session that ends soon, with a way to put it off. */

import { Notification } from '@jupyterlab/apputils';

import { announcedIn, fresh, sentence, type Announced } from '@persistent-terminal-hub/client';

/** Milliseconds between two looks of a visible page. */
const EVERY = 60_000;
/** Seconds that the button asks for; the server gives what the administrator allows. */
const EXTEND = 24 * 3600;

type Ask = (path: string, init?: RequestInit) => Promise<Response>;

export class Warnings {
  private shown = new Set<string>();

  /** `quiet()` says when nobody is to be asked (the page is covered). */
  constructor(
    private readonly ask: Ask,
    private readonly quiet: () => boolean
  ) {}

  start(): void {
    window.setInterval(() => void this.look(), EVERY);
    void this.look();
  }

  private async look(): Promise<void> {
    if (this.quiet() || document.visibilityState !== 'visible') {
      return;
    }
    try {
      const response = await this.ask('api/sessions?no_track_activity=1');
      if (response.ok) {
        fresh(announcedIn(await response.json()), this.shown).forEach(one => this.show(one));
      }
    } catch {
      // the next look may succeed
    }
  }

  private show(one: Announced): void {
    const id = Notification.warning(sentence(one), {
      autoClose: false,
      actions: [
        {
          label: 'Extend',
          caption: 'Ask for another day, within the administrator’s maximum',
          callback: event => {
            event.preventDefault(); // it stays, and says what came of it
            void this.extend(one, id);
          }
        }
      ]
    });
  }

  private async extend(one: Announced, id: string): Promise<void> {
    const say = (type: 'success' | 'error', message: string): void => {
      Notification.update({ id, message, type, actions: [], autoClose: type === 'success' ? 5_000 : false });
    };
    try {
      const response = await this.ask(`api/sessions/${encodeURIComponent(one.id)}/extend`, {
        method: 'POST',
        body: JSON.stringify({ seconds: EXTEND })
      });
      const answer = (await response.json()) as { message?: unknown; hint?: unknown };
      if (response.ok) {
        say('success', `Terminal session ${one.name} was extended.`);
      } else {
        const said = [answer.message, answer.hint].filter(part => typeof part === 'string' && part !== '');
        say('error', said.join(' ') || `Terminal session ${one.name} was not extended.`);
      }
    } catch {
      say('error', `Terminal session ${one.name} was not extended: the workspace does not answer.`);
    }
  }
}
