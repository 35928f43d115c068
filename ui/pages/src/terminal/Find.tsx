/** Searches what the terminal shows and has shown. */

import { useEffect, useRef, useState, type ReactElement } from 'react';

import type { TerminalView } from './view.js';

export function Find({ view, onClose }: { readonly view: TerminalView; readonly onClose: () => void }): ReactElement {
  const [text, setText] = useState('');
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), [view]);
  const { found } = view;

  return (
    <search className="find">
      <form
        onSubmit={event => {
          event.preventDefault();
          view.find(text, true);
        }}
        onKeyDown={event => {
          if (event.key === 'Escape') {
            event.preventDefault();
            onClose();
          }
        }}
      >
        <input
          ref={field}
          type="search"
          aria-label="Search the scrollback"
          placeholder="Search the scrollback"
          value={text}
          onChange={event => {
            setText(event.target.value);
            view.find(event.target.value, true, true);
          }}
        />
        <output aria-live="polite">
          {text === '' ? '' : !found || found.count === 0 ? 'Not found' : found.index < 0 ? `${found.count} found` : `${found.index + 1} of ${found.count}`}
        </output>
        <button type="submit" aria-label="The one before" title="The one before (Enter)">
          ↑
        </button>
        <button type="button" aria-label="The next one" title="The next one" onClick={() => view.find(text, false)}>
          ↓
        </button>
        <button type="button" aria-label="Close the search" title="Close (Esc)" onClick={onClose}>
          ×
        </button>
      </form>
    </search>
  );
}
