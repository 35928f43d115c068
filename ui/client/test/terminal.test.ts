/** A terminal on a page: sockets, clock, sink; what is told when. */

import { beforeEach, describe, expect, test } from 'vitest';

import { Code } from '../src/codes.js';
import type { Sink } from '../src/feeder.js';
import { encodeOutput } from '../src/frames.js';
import { clockOf } from '../src/surroundings.js';
import { newClient, socketUrl, TerminalStream, type TerminalOptions, type TerminalState } from '../src/terminal.js';
import { bytes, hex } from './machine.js';
import { World } from './world.js';

/** An emulator that parses when it is told to. */
class SlowSink implements Sink {
  log: string[] = [];
  private waiting: Array<() => void> = [];

  write(data: Uint8Array, parsed: () => void): void {
    this.log.push(new TextDecoder().decode(data));
    this.waiting.push(parsed);
  }
  reset(): void {
    this.log.push('RESET');
  }
  resize(rows: number, cols: number): void {
    this.log.push(`${rows}x${cols}`);
  }
  parse(): void {
    this.waiting.splice(0).forEach(parsed => parsed());
  }
}

let world: World;
let sink: SlowSink;
let terminal: TerminalStream;
let states: TerminalState[];

function made(more: Partial<TerminalOptions> = {}): TerminalStream {
  const stream = new TerminalStream({
    baseUrl: 'https://hub.example/user/ann/',
    session: 's 1',
    sink,
    size: { rows: 24, cols: 80 },
    around: world,
    ...more
  });
  stream.on('state', state => states.push(state));
  return stream.open();
}
const texts = (): string[] => world.socket.texts.map(({ type }) => type);
const output = (offset: number, text: string): void => world.socket.frame(encodeOutput(0, offset, bytes(text)));

beforeEach(() => {
  world = new World();
  sink = new SlowSink();
  states = [];
  terminal = made();
});

test('where a session is', () => {
  expect(world.socket.url).toBe('wss://hub.example/user/ann/persistent-terminals/ws/sessions/s%201');
  expect(world.socket.protocol).toBe('pth.v1');
  expect(socketUrl('http://h/@/space%20word/user/a', 'x')).toBe(
    'ws://h/@/space%20word/user/a/persistent-terminals/ws/sessions/x'
  );
  expect(newClient()).toMatch(/^[0-9a-f]{32}$/);
});

describe('output', () => {
  test('is acknowledged when it was parsed, not when it came', () => {
    world.socket.attach();
    output(0, 'x'.repeat(5000));
    world.pass(1);
    expect(texts()).not.toContain('ack');
    sink.parse();
    expect(world.socket.texts.at(-1)).toEqual({ type: 'ack', offset: 5000 });
    expect(terminal.offset).toBe(5000);
  });

  test('a little of it is acknowledged soon', () => {
    world.socket.attach();
    output(0, 'x');
    sink.parse();
    expect(texts()).not.toContain('ack');
    world.pass(0.03);
    expect(world.socket.texts.at(-1)).toEqual({ type: 'ack', offset: 1 });
  });

  test('sizes and resets wait for what was written before, and output waits for them', () => {
    world.socket.attach();
    output(0, 'a');
    world.socket.say({ type: 'size', rows: 30, cols: 90, offset: 1 });
    output(1, 'b');
    expect(sink.log).toEqual(['RESET', '24x80', 'a']);
    sink.parse();
    expect(sink.log).toEqual(['RESET', '24x80', 'a', '30x90', 'b']);
    output(2, 'c');
    world.socket.say({ type: 'reset', reason: 'lag' });
    world.socket.say({ type: 'keyframe', offset: 9, size: 1, rows: 24, cols: 80 });
    world.socket.frame(encodeOutput(1, 0, bytes('K')));
    expect(sink.log.slice(5)).toEqual(['c']);
    sink.parse();
    expect(sink.log.slice(5)).toEqual(['c', 'RESET', '24x80', 'K']);
    sink.parse();
    expect(world.socket.texts.at(-1)).toEqual({ type: 'ack', offset: 9 });
  });

  test('what will be wiped off at once is not shown any more', () => {
    world.socket.attach();
    output(0, 'a');
    world.socket.say({ type: 'size', rows: 30, cols: 90, offset: 1 });
    output(1, 'b');
    world.socket.say({ type: 'reset', reason: 'lag' });
    sink.parse();
    expect(sink.log).toEqual(['RESET', '24x80', 'a', 'RESET']);
  });

  test('a second report of the same piece changes nothing', () => {
    let parsed = (): void => undefined;
    sink.write = (_data, done) => (parsed = done);
    world.socket.attach();
    output(0, 'x'.repeat(4096));
    parsed();
    parsed();
    expect(texts().filter(type => type === 'ack')).toHaveLength(1);
  });

  test('after a cut only what is missing comes', () => {
    world.socket.attach();
    output(0, 'abc');
    world.socket.cut();
    world.pass(0.1);
    world.socket.open();
    expect(world.socket.texts[0]).toMatchObject({ type: 'attach', epoch: 'e1', offset: 3, client: terminal.client });
  });

  test('a fetch is answered once, or not at all', async () => {
    world.socket.attach();
    const wanted = terminal.fetch(0, 9);
    expect(await terminal.fetch(0, 9)).toBeNull();
    world.socket.frame(encodeOutput(2, 4, bytes('ab')));
    world.socket.frame(encodeOutput(2, 6, bytes('c')));
    world.socket.say({ type: 'fetched', from: 4, to: 7 });
    const got = await wanted;
    expect([got?.start, hex(got?.data ?? bytes(''))]).toEqual([4, hex(bytes('abc'))]);
    const cut = terminal.fetch(0, 9);
    world.socket.cut();
    expect(await cut).toBeNull();
  });
});

describe('input', () => {
  test('is kept through a cut and sent once more if the keeper has it not', () => {
    world.socket.attach();
    terminal.input('l');
    terminal.input('s');
    world.socket.cut();
    terminal.input('\r');
    expect(terminal.unsent).toBe(3);
    world.pass(0.1);
    world.socket.attach({ resumed: true, input_ack: 1 });
    expect(world.socket.frames.map(hex)).toEqual(['000000000000000273', '00000000000000030d']);
    world.socket.say({ type: 'input_ack', seq: 3 });
    expect(terminal.unsent).toBe(0);
  });

  test('that is not delivered is told', () => {
    const dropped: string[] = [];
    terminal.on('dropped', ({ size, reason }) => dropped.push(`${size} ${reason}`));
    world.socket.open();
    world.socket.cut(Code.locked, '');
    terminal.input('secret');
    expect(dropped).toEqual(['6 locked']);
  });

  test('the buffer that it came in may be used again', () => {
    world.socket.open();
    const buffer = bytes('a');
    terminal.input(buffer);
    buffer[0] = 0;
    world.socket.attach();
    expect(world.socket.frames.map(hex)).toEqual(['000000000000000161']);
  });

  test('answers are given for live output only, and to nobody else’s question', () => {
    world.socket.attach({ end: 10, answer_from: 2 });
    output(0, 'ab');
    expect(terminal.mayAnswer).toBe(false);
    terminal.answer('old');
    sink.parse();
    output(2, 'c');
    expect(terminal.mayAnswer).toBe(true);
    terminal.answer('new');
    sink.parse();
    expect(terminal.mayAnswer).toBe(false);
    terminal.answer('nobody asked');
    expect(world.socket.frames.map(frame => hex(frame.subarray(8)))).toEqual([hex(bytes('new'))]);
  });
});

describe('states', () => {
  const seen = (): string[] => states.map(({ condition }) => condition);

  test.each([
    [Code.signIn, 'sign-in'],
    [Code.forbidden, 'forbidden'],
    [Code.noSession, 'missing'],
    [Code.ended, 'ended'],
    [Code.locked, 'locked'],
    [Code.protocol, 'broken']
  ])('%i is %s', (code, condition) => {
    world.socket.open();
    world.socket.cut(code);
    expect(terminal.state.condition).toBe(condition);
    expect(terminal.state.sentence).not.toBe('');
    world.pass(1);
    expect(world.sockets).toHaveLength(1);
  });

  test('a refusal ends when somebody tries again; a lock is looked at by itself', () => {
    world.socket.open();
    world.socket.cut(Code.signIn);
    terminal.retry();
    world.socket.attach();
    expect(terminal.state.condition).toBe('live');
    world.socket.cut(Code.locked);
    world.pass(15);
    expect(world.sockets).toHaveLength(3);
    world.socket.attach({ resumed: true });
    expect(seen()).toEqual(['connecting', 'sign-in', 'connecting', 'live', 'locked', 'live']);
  });

  test('an outage has one beginning, however many attempts it takes, and no end of attempts', () => {
    world.socket.attach();
    world.pass(2);
    world.socket.cut();
    const since = states.at(-1)?.since.getTime() ?? 0;
    for (let tries = 0; tries < 200; tries += 1) {
      world.pass(10);
      world.socket.cut();
    }
    expect(world.sockets.length).toBeGreaterThan(180);
    expect(seen()).toEqual(['connecting', 'live', 'reconnecting']);
    terminal.retry();
    expect(seen()).toEqual(['connecting', 'live', 'reconnecting']);
    // `Date` goes on by itself here while the clock is turned by hand: the difference is the clock's.
    expect(Math.abs(terminal.state.since.getTime() - (since - 2_000_000))).toBeLessThan(1000);
  });

  test('a silent line is lost since it was last heard', () => {
    world.socket.attach();
    world.pass(4);
    world.socket.say({ type: 'ping', id: 1 });
    world.pass(20.1);
    expect(terminal.state.condition).toBe('reconnecting');
    expect(Math.round((Date.now() - terminal.state.since.getTime()) / 1000)).toBe(20);
  });

  test('a tab whose timers ring once a minute stays connected', () => {
    world.socket.attach();
    for (let minute = 0; minute < 30; minute += 1) {
      for (let second = 0; second < 60; second += 5) {
        world.time += 5;
        world.socket.say({ type: 'ping', id: second }); // frames are delivered also to a hidden tab
      }
      world.sleep(0);
      world.socket.say({ type: 'pong', id: minute });
    }
    expect(world.sockets).toHaveLength(1);
    expect(terminal.state.condition).toBe('live');
    expect(texts().filter(type => type === 'pong')).toHaveLength(360);
  });

  test('a laptop that slept asks before it gives up', () => {
    world.socket.attach();
    world.sleep(8 * 3600);
    expect(world.socket.texts.at(-1)?.type).toBe('ping');
    expect(terminal.state.condition).toBe('live');
    world.pass(3.1);
    expect(terminal.state.condition).toBe('reconnecting');
  });

  test('a page that is looked at again tries at once, and not again and again', () => {
    world.socket.attach();
    world.socket.cut();
    world.pass(60);
    world.socket.cut();
    const before = world.sockets.length;
    world.look();
    expect(world.sockets).toHaveLength(before + 1);
    for (let times = 0; times < 50; times += 1) {
      world.socket.cut();
      world.look();
    }
    expect(world.sockets).toHaveLength(before + 1);
  });

  test('a client id that is used twice is changed', () => {
    const before = terminal.client;
    const told: string[] = [];
    terminal.on('client', client => told.push(client));
    world.socket.attach();
    world.socket.cut(Code.takenOver);
    expect(terminal.client).not.toBe(before);
    expect(told).toEqual([terminal.client]);
    world.socket.open();
    expect(world.socket.texts[0]).toMatchObject({ type: 'attach', client: terminal.client });
  });

  test('what breaks the protocol is closed, and said', () => {
    world.socket.open();
    const { socket } = world;
    output(0, 'before attached');
    expect(socket.closed).toBe(Code.protocol);
    world.pass(1);
    expect(world.sockets.length).toBeGreaterThan(1);
  });

  test('nothing of an old socket is heard', () => {
    const old = world.socket;
    old.attach();
    old.cut();
    world.pass(1);
    world.socket.attach({ resumed: true });
    const before = sink.log.length;
    old.frame(encodeOutput(0, 0, bytes('old')));
    old.cut(Code.forbidden);
    expect(sink.log).toHaveLength(before);
    expect(terminal.state.condition).toBe('live');
  });

  test('closing leaves nothing behind', () => {
    world.socket.attach();
    terminal.close();
    expect(world.socket.closed).toBe(1000);
    expect([world.timersSet, world.watched]).toEqual([0, false]);
    expect(terminal.state.condition).toBe('idle');
  });

  test('a page that may not open sockets now tries again', () => {
    world.socket.cut();
    const open = world.open.bind(world);
    world.open = () => {
      throw new Error('not now');
    };
    world.pass(5);
    world.open = open;
    world.pass(5);
    expect(world.sockets).toHaveLength(2);
  });
});

test('a clock of two notices a sleep and does not go back', () => {
  let [steady, wall] = [0, 1000];
  const now = clockOf({ steady: () => steady, wall: () => wall });
  steady += 500;
  wall += 500;
  expect(now()).toBe(0.5);
  wall += 60_000; // slept
  expect(now()).toBe(60.5);
  wall -= 3_600_000; // was set
  steady += 1000;
  expect(now()).toBe(61.5);
});
