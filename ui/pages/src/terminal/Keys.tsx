/** Keys that a touch screen does not have. Ctrl holds for the next key, whichever keyboard it comes from. */

import { useEffect, useState, type ReactElement } from 'react';

import type { TerminalView } from './view.js';

const ESC = '\u001b';
const KEYS: ReadonlyArray<readonly [label: string, name: string, normal: string, application?: string]> = [
  ['Esc', 'Esc', ESC],
  ['Tab', 'Tab', '\t'],
  ['←', 'Left', `${ESC}[D`, `${ESC}OD`],
  ['↓', 'Down', `${ESC}[B`, `${ESC}OB`],
  ['↑', 'Up', `${ESC}[A`, `${ESC}OA`],
  ['→', 'Right', `${ESC}[C`, `${ESC}OC`],
  ['Home', 'Home', `${ESC}[H`, `${ESC}OH`],
  ['End', 'End', `${ESC}[F`, `${ESC}OF`],
  ['PgUp', 'PgUp, page up', `${ESC}[5~`],
  ['PgDn', 'PgDn, page down', `${ESC}[6~`],
  ['|', 'Pipe', '|'],
  ['~', 'Tilde', '~'],
  ['/', 'Slash', '/']
];

/** What Ctrl makes of a letter; undefined: nothing. */
export function controlOf(key: string): string | undefined {
  if (key === ' ') {
    return '\u0000';
  }
  const code = key.length === 1 ? key.toUpperCase().charCodeAt(0) : 0;
  return code >= 64 && code <= 95 ? String.fromCharCode(code - 64) : undefined;
}

export function Keys({ view }: { readonly view: TerminalView }): ReactElement {
  const [control, setControl] = useState(false);

  useEffect(() => {
    if (!control) {
      return undefined;
    }
    // A keyboard on the screen tells what it puts in, not which key it was.
    const field = view.term.textarea;
    const typed = (event: InputEvent): void => {
      const made = event.data ? controlOf(event.data) : undefined;
      setControl(false);
      if (made !== undefined) {
        event.preventDefault();
        event.stopImmediatePropagation();
        view.stream.input(made);
      }
    };
    const pressed = (event: KeyboardEvent): void => {
      const made = event.key === 'Unidentified' || event.key === 'Process' ? undefined : controlOf(event.key);
      if (made !== undefined) {
        event.preventDefault();
        event.stopImmediatePropagation();
        setControl(false);
        view.stream.input(made);
      }
    };
    const { element } = view;
    element.addEventListener('keydown', pressed, true);
    field?.addEventListener('beforeinput', typed, true);
    return () => {
      element.removeEventListener('keydown', pressed, true);
      field?.removeEventListener('beforeinput', typed, true);
    };
  }, [control, view]);

  const keepFocus = (event: { preventDefault(): void }): void => event.preventDefault();

  return (
    <div className="keys" role="toolbar" aria-label="Keys">
      <button
        type="button"
        aria-pressed={control}
        onPointerDown={keepFocus}
        onClick={() => {
          setControl(!control);
          view.term.focus();
        }}
      >
        Ctrl
      </button>
      {KEYS.map(([label, name, normal, application]) => (
        <button
          key={name}
          type="button"
          aria-label={name}
          onPointerDown={keepFocus}
          onClick={() => {
            const made = control ? controlOf(normal) : undefined;
            const applied = view.term.modes.applicationCursorKeysMode ? (application ?? normal) : normal;
            setControl(false);
            view.stream.input(made ?? applied);
            view.term.focus();
          }}
        >
          {label}
        </button>
      ))}
    </div>
  );
}
