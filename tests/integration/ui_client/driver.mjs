/**
 * The built client library in Node, with its own WebSocket, against a real server.
 *
 * argv: base URL, API token, JSON of the session to make. It types without a pause until standard input ends,
 * checks every byte that comes, tells its states, and at the end what it typed and saw.
 */

import { createHash } from 'node:crypto';
import process from 'node:process';

import { TerminalStream, WorkspaceApi } from '../../../ui/client/lib/index.js';

const LINE = 16;
const [baseUrl, apiToken, wishes] = process.argv.slice(2);
const say = (what, more = {}) => process.stdout.write(JSON.stringify({ what, ...more }) + '\n');
const fail = why => {
  say('wrong', { why });
  process.exit(1);
};

/** What the program has at `offset`: counted lines of 14 digits, CR LF. */
const truth = offset => {
  const at = offset % LINE;
  return at < 14 ? String(Math.floor(offset / LINE)).padStart(14, '0').charCodeAt(at) : at === 14 ? 13 : 10;
};
const check = (data, from) => data.forEach((byte, at) => byte === truth(from + at) || fail(`byte ${from + at}`));

const api = new WorkspaceApi(baseUrl, { headers: { Authorization: `token ${apiToken}` } });
const session = await api.create(JSON.parse(wishes));
say('created', { id: session.id });

let [shown, resets, place] = [0, 0, 0];
const skipped = [];
const sink = {
  write: (data, parsed, offset) => {
    if (offset !== null) {
      offset === place || fail(`a hole or an overlap at ${place}`);
      check(data, offset);
      place += data.length;
      shown += data.length;
    }
    setTimeout(parsed, 1); // a moment later, as an emulator does it
  },
  reset: () => (resets += 1)
};
const stream = new TerminalStream({
  baseUrl, session: session.id, token: session.token, sink, size: { rows: 24, cols: 80 },
  api: { headers: { Authorization: `token ${apiToken}` } }
});
stream.on('skipped', ({ start, stop }) => {
  skipped.push([start, stop]);
  place = stop;
});
stream.on('dropped', ({ size, reason }) => fail(`${size} bytes dropped: ${reason}`));
stream.on('state', ({ condition, since }) => say(condition, { since: since.toISOString() }));
stream.open();

let typed = '';
let typing = true;
process.stdin.resume().on('end', () => (typing = false));
const until = async ready => {
  while (!ready()) {
    await new Promise(resolve => setTimeout(resolve, 5));
  }
};
await until(() => shown > 0); // the program has its terminal raw
while (typing) {
  const piece = `<${typed.length}:${'k'.repeat((typed.length * 7) % 40)}>`;
  typed += piece;
  stream.input(piece);
  await new Promise(resolve => setTimeout(resolve, 4));
}
await until(() => stream.unsent === 0);
const end = Number(JSON.parse(wishes).argv.at(-2)) * LINE;
await until(() => stream.offset === end && place === end);
for (const [start, stop] of skipped) {
  for (let at = start; at < stop; ) {
    const got = await stream.fetch(at, stop);
    if (got !== null) {
      got.start === at || fail(`what was skipped at ${at} cannot be had`);
      check(got.data, at);
      at += got.data.length;
    }
  }
}
const granted = await stream.extend(60).catch(({ kind }) => kind);
const hash = createHash('sha256').update(typed).digest('hex');
say('done', { typed: typed.length, hash, shown, resets, skipped, granted, rows: (await api.get(session.id)).rows });
stream.close();
