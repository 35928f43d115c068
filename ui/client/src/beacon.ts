/** Hears what a person does on the page. */

import { INPUT_EVENTS, Judge, Throttle, type InputLike } from './presence.js';

const OPTIONS = { capture: true, passive: true } as const;

/** Calls `send(leaving)` for real input, seldom enough; `quiet()` says when none counts (the page is covered). */
export function listen(send: (leaving: boolean) => void, quiet: () => boolean): void {
  const judge = new Judge();
  const throttle = new Throttle();

  const heard = (event: Event): void => {
    if (judge.isPerson(event as InputLike) && !quiet() && throttle.input(performance.now())) {
      send(false);
    }
  };
  const attach = (target: Window): void => {
    for (const name of INPUT_EVENTS) {
      target.addEventListener(name, heard, OPTIONS);
    }
  };
  // Frames with a page of this origin (a rendered document, say).
  const adopt = (frame: HTMLIFrameElement): void => {
    try {
      if (frame.contentWindow?.document) {
        attach(frame.contentWindow);
      }
    } catch {
      // of another origin, or sandboxed: what happens there stays there
    }
  };

  attach(window);
  document.querySelectorAll('iframe').forEach(adopt);
  // `load` does not bubble, but is seen on its way down.
  document.addEventListener(
    'load',
    event => {
      if (event.target instanceof HTMLIFrameElement) {
        adopt(event.target);
      }
    },
    true
  );
  window.addEventListener('pagehide', () => {
    if (throttle.leave() && !quiet()) {
      send(true);
    }
  });
}
