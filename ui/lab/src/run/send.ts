/** Pastes a text into a terminal when that shows what its program is ready for, and ends it with Enter. */

import type { PersistentTerminal } from '../terminal/widget.js';

/** Milliseconds without output after which a program waits for input, as far as one can tell. */
const QUIET = 200;
/** Milliseconds after which it is sent anyway. */
const PATIENCE = 3_000;
/** Milliseconds that a connection may take. */
const CONNECTED = 15_000;

/** Rejects when the session cannot be attached to. */
export async function send(terminal: PersistentTerminal, text: string): Promise<void> {
  await terminal.ready;
  await attached(terminal);
  await quiet(terminal);
  // As one paste where the program takes one, as lines where it does not; the emulator knows.
  terminal.paste(text);
  terminal.stream.input('\r');
}

function attached({ stream }: PersistentTerminal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (result: () => void): void => {
      window.clearTimeout(timer);
      off();
      result();
    };
    const look = (): void => {
      const { condition, sentence, hint } = stream.state;
      if (condition === 'live') {
        done(resolve);
      } else if (condition !== 'idle' && condition !== 'connecting' && condition !== 'reconnecting') {
        done(() => reject(new Error(`${sentence} ${hint}`.trim())));
      }
    };
    const timer = window.setTimeout(
      () => done(() => reject(new Error('The session does not answer. Nothing was sent; try again when it does.'))),
      CONNECTED
    );
    const off = stream.on('state', look);
    look();
  });
}

/** Its screen is whole: something is on it, and nothing comes for a moment. */
function quiet({ term, stream }: PersistentTerminal): Promise<void> {
  return new Promise(resolve => {
    if (term === null) {
      resolve();
      return;
    }
    const done = (): void => {
      window.clearTimeout(timer);
      window.clearTimeout(late);
      parsed.dispose();
      resolve();
    };
    const again = (): void => {
      window.clearTimeout(timer);
      // A shell that was just started has not said anything yet, not even how it wants to get a paste.
      timer = (stream.offset ?? 0) > 0 ? window.setTimeout(done, QUIET) : 0;
    };
    let timer = 0;
    const late = window.setTimeout(done, PATIENCE);
    const parsed = term.onWriteParsed(again);
    again();
  });
}
