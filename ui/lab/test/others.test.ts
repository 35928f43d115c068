import assert from 'node:assert/strict';
import { test } from 'vitest';

import { pageOf, readOthers } from '../src/panel/others.js';

test('workspaces and sessions of an answer', () => {
  const [gpu] = readOthers({
    workspaces: [
      { name: 'gpu', title: 'GPU', url: '/user/ann/gpu/', state: 'running', badge: 'Running', summary: '1 session: 1 busy.',
        sessions: [{ id: 'a b', name: 'train', state: 'busy', text: 'busy with python for 3 minutes' }] }
    ]
  });
  assert.ok(gpu?.sessions[0]);
  assert.equal(gpu.sessions[0].name, 'train');
  assert.equal(pageOf(gpu), '/user/ann/gpu/persistent-terminals/');
  assert.equal(pageOf(gpu, gpu.sessions[0]), '/user/ann/gpu/persistent-terminals/#a%20b');
});

test('nonsense is left out, and nothing but a web address is a link', () => {
  assert.deepEqual(readOthers(null), []);
  assert.deepEqual(readOthers({ workspaces: 3 }), []);
  for (const url of ['javascript:alert(1)', '//elsewhere/', '', 7]) {
    assert.deepEqual(readOthers({ workspaces: [{ name: 'x', url }] }), []);
  }
  assert.deepEqual(readOthers({ workspaces: [{ url: 'https://ann.hub/user/ann/' }] })[0]?.sessions, []);
});
