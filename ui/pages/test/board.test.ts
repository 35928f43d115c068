import { expect, test } from 'vitest';
import { listsOf, merge, stateOf, titleOf, type Place } from '../src/admin/board';
import type { BoardRow, WorkspaceRow } from '../src/admin/types';

const workspace = (owner: string, more: Partial<WorkspaceRow> = {}): WorkspaceRow => ({
  key: `w:${owner}/`, id: owner, owner, name: '', display: 'default', status: 'running', started: null, lastActivity: null,
  answers: true, silentSince: null, locked: false, asked: '', presence: null, kernelBusy: false, sessions: [], ...more
});
const session = { id: 's', name: 'main', state: 'active', created: 1, busySince: null, memory: 0 } as const;
const user = (name: string): BoardRow => ({ key: `u:${name}`, user: name, admin: false, groups: [], lastActivity: null });
const event = (rows: BoardRow[], more: object = {}) => ({ rows, gone: [], whole: false, more: false, ...more });

test('rows come, change, go, and begin anew', () => {
  let rows = merge(new Map(), event([workspace('ann'), user('ann')], { whole: true }));
  rows = merge(rows, event([workspace('ann', { sessions: [session] }), workspace('bob')]));
  expect([...rows.keys()]).toEqual(['w:ann/', 'u:ann', 'w:bob/']);
  expect(listsOf(rows, true).people).toEqual([expect.objectContaining({ running: 1, workspaces: 1, sessions: 1 })]);
  rows = merge(rows, event([], { gone: ['w:ann/', 'unknown'] }));
  expect(listsOf(rows, true).sessions).toEqual([]);
  rows = merge(rows, event([user('cid')], { whole: true }));
  expect([...rows.keys()]).toEqual(['u:cid']);
});

test('a session is the same object as long as its workspace is', () => {
  const rows = new Map<string, BoardRow>([['w:ann/', workspace('ann', { sessions: [session] })]]);
  expect(listsOf(rows, true).sessions[0]).toBe(listsOf(rows, true).sessions[0]);
});

test('the hub and orphans have their own places', () => {
  const orphan = { key: 'o:x/', owner: 'x', name: '', container: 'c', paused: false, userKnown: false, deleted: false };
  const lists = listsOf(merge(new Map(), event([orphan, { key: 'hub', answers: false, since: 5 }])), false);
  expect(lists.hub?.answers).toBe(false);
  expect(lists.places.map(stateOf)).toEqual(['orphan']);
});

test.each<[Partial<WorkspaceRow>, string]>([
  [{}, 'running'],
  [{ locked: true }, 'locked'],
  [{ locked: true, answers: false }, 'silent'],
  [{ answers: null }, 'running'],
  [{ status: 'stopped', answers: false }, 'stopped']
])('%o is %s', (more, state) => expect(stateOf(workspace('a', more))).toBe(state));

test('titles', () => {
  expect([{ owner: 'a', name: '' }, { owner: 'a', name: 'b' }].map(each => titleOf(each as Place))).toEqual(['a', 'a/b']);
});
