import assert from 'node:assert/strict';
import { test } from 'vitest';

import { BEACON_EVERY, Judge, Throttle } from '../src/presence.js';

const event = (type: string, more: object = {}) => ({ type, isTrusted: true, ...more });

test('the first input is told at once, the next after the pause', () => {
  const throttle = new Throttle();
  assert.equal(throttle.input(5), true);
  assert.equal(throttle.input(6), false);
  assert.equal(throttle.input(5 + BEACON_EVERY - 1), false);
  assert.equal(throttle.input(5 + BEACON_EVERY), true);
});

test('in an hour of typing there are 120 beacons, without typing none', () => {
  const throttle = new Throttle();
  let sent = 0;
  for (let at = 0; at < 3_600_000; at += 100) {
    sent += Number(throttle.input(at));
  }
  assert.equal(sent, 120);
  assert.equal(new Throttle().leave(), false);
});

test('a page that goes away tells of input once, and only of what is not known', () => {
  const throttle = new Throttle();
  throttle.input(0);
  assert.equal(throttle.leave(), false);
  throttle.input(10);
  assert.equal(throttle.leave(), true);
  assert.equal(throttle.leave(), false);
  throttle.input(20);
  throttle.input(BEACON_EVERY);
  assert.equal(throttle.leave(), false);
});

test('only what a person does counts', () => {
  const judge = new Judge();
  for (const type of ['keydown', 'pointerdown', 'wheel', 'touchstart', 'touchmove']) {
    assert.equal(judge.isPerson(event(type)), true, type);
    assert.equal(judge.isPerson(event(type, { isTrusted: false })), false, type);
  }
  assert.equal(judge.isPerson(event('keydown', { repeat: true })), false);
});

test('a pointer that lies still does not count, whatever moves below it', () => {
  const judge = new Judge();
  const at = (screenX: number, screenY: number) => judge.isPerson(event('pointermove', { screenX, screenY }));
  assert.equal(at(10, 10), false); // where was it before?
  assert.equal(at(10, 10), false);
  assert.equal(at(10, 11), true);
  assert.equal(at(10, 11), false);
  assert.equal(judge.isPerson(event('pointermove', { isTrusted: false, screenX: 99, screenY: 9 })), false);
  assert.equal(at(10, 11), false);
});
