import assert from 'node:assert/strict';
import { test } from 'vitest';

import { patient, telling, type Lock } from '../src/workspace/patience.js';

/** A lock that opens when it is told to. */
class FakeLock implements Lock {
  told: string[] = [];
  open: () => void = () => undefined;
  private opened = new Promise<void>(resolve => (this.open = resolve));

  locked(): void {
    this.told.push('locked');
  }
  hint(): void {
    this.told.push('hint');
  }
  whenOpen(): Promise<void> {
    return this.opened;
  }
}

/** Answers with these, and notes what was asked. */
function server(...answers: number[]) {
  const asked: string[] = [];
  const fetch = async (input: RequestInfo, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    asked.push(`${request.method} ${await request.text()}`);
    return new Response(null, { status: answers.shift() ?? 500 });
  };
  return { asked, fetch };
}

const URL = 'http://workspace.test/user/ann/api/contents/a.ipynb';
const soon = () => new Promise(resolve => setTimeout(resolve, 5));

test('what is answered is passed on', async () => {
  for (const status of [200, 404, 403, 503]) {
    const lock = new FakeLock();
    const { asked, fetch } = server(status);
    assert.equal((await patient(fetch, lock)(URL)).status, status);
    assert.equal(asked.length, 1);
    assert.deepEqual(lock.told, []);
  }
});

test('what a lock refused waits, and is sent again with its body', async () => {
  const lock = new FakeLock();
  const { asked, fetch } = server(423, 201);
  let done = false;
  const answer = patient(fetch, lock)(new Request(URL, { method: 'PUT', body: 'unsaved work' })).finally(
    () => (done = true)
  );
  await soon();
  assert.equal(done, false);
  assert.deepEqual(lock.told, ['locked']);
  lock.open();
  assert.equal((await answer).status, 201);
  assert.deepEqual(asked, ['PUT unsaved work', 'PUT unsaved work']);
});

test('locked again meanwhile: it waits again', async () => {
  const lock = new FakeLock();
  lock.open();
  const { asked, fetch } = server(423, 423, 200);
  assert.equal((await patient(fetch, lock)(URL, { method: 'POST', body: '{}' })).status, 200);
  assert.deepEqual(asked, ['POST {}', 'POST {}', 'POST {}']);
});

test('who gave up while it waited is told so', async () => {
  const lock = new FakeLock();
  const { asked, fetch } = server(423, 200);
  const control = new AbortController();
  const answer = patient(fetch, lock)(URL, { signal: control.signal });
  await soon();
  control.abort();
  lock.open();
  await assert.rejects(answer, { name: 'AbortError' });
  assert.equal(asked.length, 1);
});

test('a network failure stays one', async () => {
  const fetch = () => Promise.reject(new TypeError('no network'));
  await assert.rejects(patient(fetch, new FakeLock())(URL), /no network/);
});

test('sockets tell of a lock, and of what may be one', () => {
  class FakeSocket extends EventTarget {
    constructor(readonly url: string | URL) {
      super();
    }
  }
  const lock = new FakeLock();
  const Socket = telling(FakeSocket as unknown as typeof WebSocket, lock);
  const socket = new Socket('ws://workspace.test/');
  assert.equal(socket.url, 'ws://workspace.test/');
  for (const code of [1000, 1001, 4423, 1006]) {
    socket.dispatchEvent(Object.assign(new Event('close'), { code }));
  }
  assert.deepEqual(lock.told, ['locked', 'hint']);
});
