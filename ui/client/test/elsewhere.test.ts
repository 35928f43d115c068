/** What the hub tells of other workspaces, made safe. */

import { expect, test } from 'vitest';

import { WorkspaceApi } from '../src/api.js';
import { readElsewhere } from '../src/elsewhere.js';

const GPU = {
  name: 'gpu', title: 'GPU', url: '/user/ann/gpu/', state: 'running', badge: 'Running', summary: '1 session: 1 busy.',
  sessions: [{ id: 'a b', name: 'train', state: 'busy', text: 'busy with python for 3 minutes' }]
};

test('workspaces and sessions of an answer', async () => {
  const asked: string[] = [];
  const api = new WorkspaceApi('/user/ann/', {
    fetch: async url => {
      asked.push(String(url));
      return new Response(JSON.stringify({ workspaces: [GPU] }));
    }
  });
  expect(await api.elsewhere()).toEqual([GPU]);
  expect(asked).toEqual(['/user/ann/persistent-terminals/api/elsewhere?no_track_activity=1']);
});

test('nonsense is left out, and nothing but a web address is a link', () => {
  expect(readElsewhere(null)).toEqual([]);
  expect(readElsewhere({ workspaces: 3 })).toEqual([]);
  for (const url of ['javascript:alert(1)', '//elsewhere/', '', 7]) {
    expect(readElsewhere({ workspaces: [{ name: 'x', url }] })).toEqual([]);
  }
  const [bare] = readElsewhere({ workspaces: [{ url: 'https://ann.hub/user/ann/', sessions: [null, { id: 3 }] }] });
  expect(bare).toMatchObject({ name: '', sessions: [{ id: '', name: '', state: '', text: '' }, { id: '', name: '' }] });
});
