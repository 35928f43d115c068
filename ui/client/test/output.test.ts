/** What a client knows of where the lines begin that it shows. */

import { expect, test } from 'vitest';

import { LIMITS } from '../src/codes.js';
import { OutputState } from '../src/output.js';

const ATTACHED = {
  type: 'attached', epoch: 'e', end: 9000, input_ack: 0, answer_from: 9000, responder: true, rows: 24, cols: 80, resumed: false, mode: 'rw'
} as const;
const KEYFRAME = { type: 'keyframe', offset: 8990, size: 6, rows: 24, cols: 80 } as const;

function reset(more: object = {}): OutputState {
  const output = new OutputState(LIMITS);
  output.attached({ ...ATTACHED, ...more });
  output.reset({ type: 'reset', reason: 'fresh' });
  return output;
}

test('a replay begins where the server says', () => {
  const output = reset({ start: 7 });
  expect([output.begin, output.own]).toEqual([7, null]);
});

test('a keyframe says where its lines begin, and what of it is the output itself', () => {
  const output = reset();
  expect([output.begin, output.own]).toEqual([null, null]);
  output.keyframe({ ...KEYFRAME, begin: 5000, own: 4 });
  expect(output.begin).toBe(5000);
  expect(output.own).toEqual({ place: 2, offset: 8986 });
  output.reset({ type: 'reset', reason: 'lag' });
  expect([output.begin, output.own]).toEqual([null, null]);
});

test('one that says nothing, or what cannot be, tells nothing', () => {
  for (const own of [undefined, 0, 7]) {
    const output = reset();
    output.keyframe({ ...KEYFRAME, ...(own === undefined ? {} : { own }) });
    expect([output.begin, output.own]).toEqual([null, null]);
  }
});
