import assert from 'node:assert/strict';
import { test } from 'vitest';

import type { Condition } from '@persistent-terminal-hub/client';
import { statusOf, told, type Facts } from '../src/terminal/told.js';

const facts = (condition: Condition, more: Partial<Facts> = {}): Facts => ({
  condition,
  sentence: 'A sentence.',
  hint: 'A hint.',
  since: new Date(1_000_000),
  now: new Date(1_012_500),
  exit: null,
  unsent: 0,
  watching: false,
  sized: null,
  ...more
});

test('what is as it should be needs no word', () => {
  for (const condition of ['idle', 'connecting', 'live'] as const) {
    assert.equal(told(facts(condition)), null);
  }
});

test('a lost connection says since when, and what waits', () => {
  const lost = told(facts('reconnecting', { unsent: 1 }));
  assert.equal(lost?.since, '12 seconds ago');
  assert.equal(lost?.hint, 'A hint. 1 typed byte waits to be sent.');
  assert.deepEqual(lost?.acts, ['try']);
  assert.match(told(facts('reconnecting', { unsent: 7 }))?.hint ?? '', /7 typed bytes wait/);
  // A clock that was set back.
  assert.equal(told(facts('reconnecting', { now: new Date(0) }))?.since, '0 seconds ago');
});

test('an end says how, and offers to begin again', () => {
  const ended = told(facts('ended', { exit: { code: 3, signal: null, reason: null } }));
  assert.equal(ended?.sentence, 'This session has ended: exit code 3.');
  assert.deepEqual(ended?.acts, ['again', 'close']);
  assert.match(told(facts('ended'))?.sentence ?? '', /nobody knows how/);
  assert.deepEqual(told(facts('missing'))?.acts, ['new', 'close']);
});

test('a lock offers nothing: the cover does', () => {
  assert.deepEqual(told(facts('locked'))?.acts, []);
});

test('who only watches, and whose size is another’s, are told so', () => {
  assert.match(told(facts('live', { watching: true }))?.sentence ?? '', /only watch/);
  assert.match(told(facts('live', { sized: { rows: 24, cols: 80 } }))?.sentence ?? '', /Sized 80×24/);
});

test('only what cannot come back by itself is disconnected', () => {
  assert.equal(statusOf('live'), 'connected');
  for (const condition of ['idle', 'connecting', 'reconnecting', 'locked', 'taken-over'] as const) {
    assert.equal(statusOf(condition), 'connecting');
  }
  for (const condition of ['ended', 'missing', 'forbidden', 'sign-in', 'broken'] as const) {
    assert.equal(statusOf(condition), 'disconnected');
  }
});

test('what ended by itself has its code, whatever the stream calls the reason', () => {
  assert.match(told(facts('ended', { exit: { type: 'exit', code: 0, reason: 'exited' } }))?.sentence ?? '', /exit code 0/);
  assert.match(told(facts('ended', { exit: { type: 'exit', reason: 'workspace_ended' } }))?.sentence ?? '', /was stopped/);
});
