/** Requests and their answers. */

import { expect, test } from 'vitest';

import { readSession, WorkspaceApi } from '../src/api.js';
import { ApiError } from '../src/errors.js';
import { describe as describeState, exitText } from '../src/sentences.js';

const SESSION = {
  id: 'abc', name: 'train.1', state: 'dormant', created: '2026-11-22T01:02:03.004Z', last_input: null,
  last_output: 'nonsense', argv: ['bash', '-l'], cwd: '/home', rows: 30, cols: 100, clients: 0, exit: null,
  bytes_out: 12, busy: true, busyFor: 3, expiresIn: null, warnings: [{ code: 'ttl', seconds: 9 }, null]
};

interface Asked {
  readonly url: string;
  readonly method: string;
  readonly xsrf: string | null;
  readonly body: unknown;
}

function fake(...answers: ReadonlyArray<[status: number, body: unknown] | Error>): { api: WorkspaceApi; asked: Asked[] } {
  const left = [...answers];
  const asked: Asked[] = [];
  const api = new WorkspaceApi('/user/ann', {
    xsrf: () => '2|x',
    fetch: async (url, init) => {
      const request = new Request(new URL(String(url), 'http://h/'), init);
      const text = await request.text();
      asked.push({
        url: String(url), method: request.method, xsrf: request.headers.get('X-XSRFToken'),
        body: text === '' ? null : JSON.parse(text)
      });
      const answer = left.shift() ?? new Error('asked too often');
      if (answer instanceof Error) {
        throw answer;
      }
      const [status, body] = answer;
      return new Response(body === null ? null : typeof body === 'string' ? body : JSON.stringify(body), { status });
    }
  });
  return { api, asked };
}

const refused = async (work: Promise<unknown>): Promise<ApiError> => {
  const error: unknown = await work.then(() => null, caught => caught);
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
};

test('sessions are read; what is none is left out', async () => {
  const { api, asked } = fake([200, [SESSION, { id: 1 }, null, { ...SESSION, state: 'dreaming' }]]);
  const [session, ...more] = await api.list();
  expect(more).toEqual([]);
  expect(session).toMatchObject({ id: 'abc', busyFor: 3, lastOutput: null, bytesOut: 12, exit: null });
  expect(session?.created?.toISOString()).toBe(SESSION.created);
  expect(session?.warnings).toEqual([{ code: 'ttl', seconds: 9 }]);
  expect(asked[0]).toMatchObject({ url: '/user/ann/persistent-terminals/api/sessions?no_track_activity=1', method: 'GET' });
  for (const value of [null, 1, 'x', [], {}]) {
    expect(readSession(value)).toBeNull();
  }
});

test('each request is the one of the documentation', async () => {
  const { api, asked } = fake(
    [201, { ...SESSION, token: 't' }],
    [200, SESSION],
    [204, null],
    [200, { granted: 60 }],
    [204, null]
  );
  expect((await api.create({ name: 'a', argv: ['sh'] })).token).toBe('t');
  await api.rename('a/b', 'c');
  await api.end('a');
  expect(await api.extend('a', 90)).toBe(60);
  await api.presence(true);
  expect(asked.map(({ method, url, body }) => [method, url.replace('/user/ann/persistent-terminals/api/', ''), body])).toEqual([
    ['POST', 'sessions', { name: 'a', argv: ['sh'] }],
    ['PATCH', 'sessions/a%2Fb', { name: 'c' }],
    ['DELETE', 'sessions/a', null],
    ['POST', 'sessions/a/extend', { seconds: 90 }],
    ['POST', 'presence', null]
  ]);
  expect(asked.every(({ xsrf }) => xsrf === '2|x')).toBe(true);
});

test('a restart ends what runs and starts the same again; what has ended is only started', async () => {
  const running = fake([200, SESSION], [204, null], [201, SESSION]);
  await running.api.restart('abc');
  expect(running.asked.map(({ method }) => method)).toEqual(['GET', 'DELETE', 'POST']);
  expect(running.asked[2]?.body).toEqual({ name: 'train.1', rows: 30, cols: 100, argv: ['bash', '-l'], cwd: '/home' });
  const ended = fake([200, { ...SESSION, state: 'ended' }], [201, SESSION]);
  await ended.api.restart('abc');
  expect(ended.asked.map(({ method }) => method)).toEqual(['GET', 'POST']);
});

test.each([
  [401, 'sign-in'], [403, 'forbidden'], [404, 'missing'], [409, 'conflict'], [410, 'ended'], [413, 'invalid'],
  [422, 'invalid'], [423, 'locked'], [424, 'unreachable'], [429, 'too-many'], [500, 'unreachable'], [503, 'unreachable']
])('status %i is %s', async (status, kind) => {
  const { api } = fake([status, { status, reason: 'R', message: 'What happened.', hint: 'What to do.' }], [status, '<html>']);
  const ours = await refused(api.end('a'));
  expect([ours.kind, ours.status]).toEqual([kind, status]);
  if (status !== 424) {
    expect([ours.message, ours.hint]).toEqual(['What happened.', 'What to do.']);
  }
  const theirs = await refused(api.end('a'));
  expect(theirs.kind).toBe(kind);
  expect(theirs.message).toMatch(/\.$/);
});

test('no answer, and an answer of something else', async () => {
  const { api } = fake(new TypeError('Failed to fetch'), [200, '<html>a login page</html>'], [200, { not: 'a list' }]);
  for (let times = 0; times < 3; times += 1) {
    expect((await refused(api.list())).kind).toBe('unreachable');
  }
});

test('the lock is asked for without a login', async () => {
  const { api } = fake([200, { locked: true, since: null, hubReachable: true }], [502, 'bad gateway']);
  expect((await api.status())?.lock).toBe('locked');
  expect(await api.status()).toBeNull();
});

test('ends and states in words', () => {
  expect(exitText({ code: 0, signal: null, reason: null })).toBe('exit code 0');
  expect(exitText({ code: null, signal: 'SIGKILL', reason: null })).toBe('signal SIGKILL');
  expect(exitText({ code: null, signal: 'SIGHUP', reason: 'ttl' })).toBe('nobody used it for too long');
  expect(exitText({ reason: 'terminated', message: 'olga ended it: too large' })).toBe('olga ended it: too large');
  expect(exitText({})).toBe('nobody knows how');
  expect(describeState('locked', 4423, 'Locked after 30 minutes.').sentence).toBe('Locked after 30 minutes.');
  expect(describeState('refused', 4403, 'Forbidden').sentence).toBe('You may not use this session.');
});
