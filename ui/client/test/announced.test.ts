import assert from 'node:assert/strict';
import { test } from 'vitest';

import { announcedIn, fresh, sentence, type Announced } from '../src/announced.js';

const session = (id: string, ...codes: string[]) => ({
  id,
  name: `name-${id}`,
  warnings: codes.map(code => ({ code, seconds: 600 }))
});

test('announcements are read, nonsense is not', () => {
  const found = announcedIn({ sessions: [session('a', 'ttl', 'max_age'), session('b')] });
  assert.deepEqual(found.map(one => `${one.name} ${one.code}`), ['name-a ttl', 'name-a max_age']);
  assert.equal(announcedIn([session('c', 'ttl')]).length, 1);
  for (const body of [null, 3, 'x', {}, { sessions: 1 }, [null, 1, { id: 1 }, { id: 'x', warnings: [null, {}] }]]) {
    assert.deepEqual(announcedIn(body), []);
  }
});

test('each is shown once, and again when it was announced anew', () => {
  const shown = new Set<string>();
  const [one] = announcedIn([session('a', 'ttl')]) as [Announced];
  assert.deepEqual(fresh([one], shown), [one]);
  assert.deepEqual(fresh([{ ...one, seconds: 500 }], shown), []);
  assert.deepEqual(fresh([], shown), []);
  assert.deepEqual(fresh([one], shown), [one]);
});

test('a person can read it', () => {
  const one = { id: 'a', name: 'train', code: 'ttl', seconds: 61 };
  assert.equal(sentence(one), 'Terminal session train ends in 1 minute: nobody has used it for long.');
  assert.match(sentence({ ...one, seconds: 3600, code: 'max_age' }), /in 60 minutes: it reaches its maximum age/);
  assert.match(sentence({ ...one, seconds: 7200 }), /in 2 hours/);
});
