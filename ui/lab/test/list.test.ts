import assert from 'node:assert/strict';
import { test } from 'vitest';

import { readSession, type Session } from '@persistent-terminal-hub/client';
import { changesOf, found, linesOf } from '../src/panel/list.js';
import { keyOf } from '../src/terminal/keys.js';

const session = (id: string, more: object = {}): Session => {
  const read = readSession({ id, name: `name-${id}`, state: 'dormant', ...more });
  assert.ok(read);
  return read;
};

test('found by any part of the name', () => {
  const list = [session('a', { name: 'Train.1' }), session('b', { name: 'shell' })];
  assert.deepEqual(found(list, ' tRAIN ').map(({ id }) => id), ['a']);
  assert.equal(found(list, '').length, 2);
});

test('running ones as they come, ended ones the newest first', () => {
  const lines = linesOf([
    session('a'),
    session('b', { state: 'ended', created: '2026-11-21T10:00:00Z' }),
    session('c', { state: 'active' }),
    session('d', { state: 'ended', created: '2026-11-22T10:00:00Z' })
  ]);
  assert.deepEqual(lines.running.map(({ id }) => id), ['a', 'c']);
  assert.deepEqual(lines.ended.map(({ id }) => id), ['d', 'b']);
});

test('what is told of changes', () => {
  const [a, b] = [session('a'), session('b')];
  assert.equal(changesOf(null, [a]), ''); // the first list is no news
  assert.equal(changesOf([a], null), '');
  assert.equal(changesOf([a], [a]), '');
  assert.equal(changesOf([a], [a, b]), 'name-b was started.');
  assert.equal(changesOf([a, b], [a]), 'name-b is gone.');
  const ended = session('a', { state: 'ended', exit: { code: 1, signal: null, reason: null } });
  assert.equal(changesOf([a], [ended]), 'name-a: Ended: exit code 1.');
  const busy = session('a', { busy: true, program: 'make', busyFor: 5 });
  assert.equal(changesOf([a], [busy]), 'name-a: Busy: make runs for 5 seconds.');
  // That it takes longer is no news.
  assert.equal(changesOf([busy], [session('a', { busy: true, program: 'make', busyFor: 9 })]), '');
});

test('keys that are not simply typed', () => {
  const press = (key: string, more: object = {}, selected = false, pastes = true, mac = false): boolean => {
    const event = { type: 'keydown', key, ctrlKey: false, shiftKey: false, altKey: false, keyCode: 0, isComposing: false };
    typed.length = 0;
    return keyOf(
      { ...event, preventDefault: () => undefined, ...more } as KeyboardEvent,
      selected,
      pastes,
      text => void typed.push(text),
      mac
    );
  };
  const typed: string[] = [];
  const ctrl = { ctrlKey: true };
  assert.equal(press('c', ctrl), true); // an interrupt
  assert.equal(press('c', ctrl, true), false); // a copy
  assert.equal(press('c', ctrl, true, true, true), true); // on a Mac Cmd+C copies
  assert.equal(press('v', ctrl), false);
  assert.equal(press('v', ctrl, false, false), true); // for vi
  assert.equal(press('V', { ctrlKey: true, shiftKey: true }, false, false), false);
  assert.equal(press('x'), true);
  assert.equal(press('Enter', { shiftKey: true }), false);
  assert.deepEqual(typed, ['\n']);
  assert.equal(press('Enter', { shiftKey: true, isComposing: true }), true);
  assert.deepEqual(typed, []);
});
