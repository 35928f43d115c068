/** What a person sets on this device. */

import { useState, type ReactElement } from 'react';

import { permission } from './news.js';
import { LONG, SIZES, type Theme } from './prefs.js';
import type { Snapshot } from './store.js';
import { span } from './words.js';
import type { Workspace } from './workspace.js';

export function Device({ workspace, state }: { readonly workspace: Workspace; readonly state: Snapshot }): ReactElement {
  const { prefs } = state;
  const size = (by: number): void =>
    workspace.setPrefs({ fontSize: Math.max(SIZES.least, Math.min(SIZES.most, prefs.fontSize + by)) });
  return (
    <>
      <h2>This device</h2>
      <div className="row">
        <span id="font-size">Font size {prefs.fontSize}</span>
        <button type="button" aria-label="Smaller font" onClick={() => size(-1)}>
          −
        </button>
        <button type="button" aria-label="Larger font" onClick={() => size(1)}>
          +
        </button>
      </div>
      <label className="row">
        Colours
        <select value={prefs.theme} onChange={event => workspace.setPrefs({ theme: event.target.value as Theme })}>
          <option value="auto">As the device</option>
          <option value="light">Light</option>
          <option value="dark">Dark</option>
        </select>
      </label>
      <label className="row">
        Row of keys
        <input type="checkbox" checked={prefs.keys} onChange={event => workspace.setPrefs({ keys: event.target.checked })} />
      </label>
      <label className="row">
        Tell when a command took
        <select value={prefs.long} onChange={event => workspace.setPrefs({ long: Number(event.target.value) })}>
          {[...new Set([...LONG, prefs.long])].map(seconds => (
            <option key={seconds} value={seconds}>
              {seconds === 0 ? 'Never' : span(seconds)}
            </option>
          ))}
        </select>
      </label>
      {prefs.long > 0 && <Beside />}
    </>
  );
}

/** Notifications of the browser, which a person allows here or not at all. */
function Beside(): ReactElement | null {
  const [state, setState] = useState(permission);
  if (state === 'none') {
    return null;
  }
  return state === 'default' ? (
    <button type="button" onClick={() => void Notification.requestPermission().then(setState)}>
      Also when this page is hidden…
    </button>
  ) : (
    <p className="help">
      {state === 'granted'
        ? 'Also by the browser when this page is hidden.'
        : 'This browser blocks notifications of this site; its settings for the site change that.'}
    </p>
  );
}
