import assert from 'node:assert/strict';
import { test } from 'vitest';

import { FIRST, HIDDEN, LONGEST, pause, QUIET, readStatus, step, type Status } from '../src/status.js';

const status = (lock: Status['lock']): Status => ({ lock, since: null, reason: '', hubReachable: null });

test('an answer is read', () => {
  const since = '2026-11-21T23:00:00Z';
  assert.deepEqual(readStatus(200, { locked: true, since, hubReachable: false }), {
    lock: 'locked',
    since,
    reason: '',
    hubReachable: false
  });
  assert.equal(readStatus(200, { locked: false })?.lock, 'open');
  assert.equal(readStatus(503, { locked: true, since: null })?.lock, 'unknown');
  assert.equal(readStatus(200, { locked: true, reason: 'Why.' })?.reason, 'Why.');
});

for (const [http, body] of [
  [200, null],
  [200, 'locked'],
  [200, []],
  [200, { locked: 'yes' }],
  [503, { status: 503, message: 'from a proxy' }],
  [404, { locked: false }],
  [424, { locked: false }],
  [302, { locked: false }]
] as const) {
  test(`not an answer of a workspace: ${http} ${JSON.stringify(body)}`, () => {
    assert.equal(readStatus(http, body), null);
  });
}

test('only a clear word moves the cover', () => {
  const table: Array<[boolean, Status | null, string]> = [
    [false, status('open'), 'stay'],
    [false, status('locked'), 'cover'],
    [false, status('unknown'), 'stay'],
    [false, null, 'stay'],
    [true, status('open'), 'uncover'],
    [true, status('locked'), 'stay'],
    [true, status('unknown'), 'stay'],
    [true, null, 'stay']
  ];
  for (const [covered, answer, wanted] of table) {
    assert.equal(step(covered, answer), wanted, `${covered} ${answer?.lock}`);
  }
});

test('pauses grow to their limit', () => {
  assert.equal(pause(false, true, 7), QUIET);
  assert.equal(pause(false, false, 7), HIDDEN);
  const pauses = Array.from({ length: 40 }, (_, tries) => pause(true, true, tries));
  assert.equal(pauses[0], FIRST);
  assert.equal(pauses.at(-1), LONGEST);
  assert.ok(pauses.every((one, at) => at === 0 || one >= (pauses[at - 1] ?? 0)));
  assert.equal(pause(true, false, 0), FIRST); // somebody logs in in another tab: this one is hidden then
});
