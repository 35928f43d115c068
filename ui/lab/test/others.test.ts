import { readElsewhere } from '@persistent-terminal-hub/client';
import assert from 'node:assert/strict';
import { test } from 'vitest';

import { pageOf } from '../src/panel/others.js';

test('where a workspace and a session of it are shown', () => {
  const [gpu] = readElsewhere({ workspaces: [{ name: 'gpu', url: '/user/ann/gpu', sessions: [{ id: 'a b', name: 'train' }] }] });
  assert.ok(gpu?.sessions[0]);
  assert.equal(pageOf(gpu), '/user/ann/gpu/persistent-terminals/');
  assert.equal(pageOf(gpu, gpu.sessions[0]), '/user/ann/gpu/persistent-terminals/#a%20b');
});
