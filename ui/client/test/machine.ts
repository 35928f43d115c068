/** How the vectors of `tests/vectors/pth.v1` call the machine and write down what it returns. */

import { readdirSync, readFileSync } from 'node:fs';

import { LIMITS, type Limits } from '../src/codes.js';
import type { Event } from '../src/events.js';
import { ClientStream, type StreamOptions } from '../src/stream.js';

/** The same files as `tests/unit/test_protocol_vectors.py` reads. */
const FOLDER = new URL('../../../tests/vectors/pth.v1/', import.meta.url);

export function read<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as T;
}

export function scripts(): string[] {
  return readdirSync(FOLDER)
    .filter(name => name.startsWith('client-') && name.endsWith('.json'))
    .sort();
}

export const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');
export const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export interface Config {
  readonly client: string;
  readonly rows: number;
  readonly cols: number;
  readonly mode: 'rw' | 'watch';
  readonly visible: boolean;
  readonly token?: string;
  readonly random: number;
  readonly limits?: Readonly<Record<string, number>>;
}

export interface Step {
  readonly at: number;
  readonly call: string;
  readonly args?: Readonly<Record<string, unknown>>;
  readonly expect: unknown;
  readonly wake_at: number | null;
  readonly state: string;
}

export interface Script {
  readonly name: string;
  readonly about: string;
  readonly config: Config;
  readonly steps: readonly Step[];
}

function limitsOf(given: Readonly<Record<string, number>>): Limits {
  const limits: Record<string, number> = { ...LIMITS };
  for (const [name, value] of Object.entries(given)) {
    const ours = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (!(ours in limits)) {
      throw new Error(`a vector sets the limit ${name}, which no client has`);
    }
    limits[ours] = value;
  }
  return limits as unknown as Limits;
}

export function make(config: Config): ClientStream {
  const { client, rows, cols, mode, visible, token, random, limits } = config;
  const options: StreamOptions = {
    rows,
    cols,
    mode,
    visible,
    random: () => random,
    limits: limitsOf(limits ?? {}),
    ...(token === undefined ? {} : { token })
  };
  return new ClientStream(client, options);
}

/** Do one step; the JSON of what the machine answers. */
export function call(client: ClientStream, step: Step): unknown {
  const now = step.at;
  const args = step.args ?? {};
  const number = (name: string): number => args[name] as number;
  const text = (name: string): string => args[name] as string;
  const data = (): Uint8Array => unhex(text('data'));
  const calls: Readonly<Record<string, () => Event[] | boolean>> = {
    start: () => client.start(now),
    stop: () => client.stop(now),
    nudge: () => client.nudge(now),
    type: () => client.type(data()),
    answer: () => client.answer(data(), number('offset'), number('generation')),
    may_answer: () => client.mayAnswer(number('offset'), number('generation')),
    resize: () => client.resize(number('rows'), number('cols')),
    set_visible: () => client.setVisible(args['visible'] as boolean),
    focus: () => client.focus(),
    fetch: () => client.fetch(number('start'), number('stop')),
    set_token: () => client.setToken(text('token')),
    parsed: () => client.parsed(number('offset'), number('generation'), now),
    opened: () => client.opened(now),
    closed: () => client.closed(number('code'), now, (args['reason'] as string | undefined) ?? ''),
    tick: () => client.tick(now),
    receive_text: () => client.receive(text('text'), now),
    receive_binary: () => client.receive(data(), now)
  };
  const run = calls[step.call];
  if (!run) {
    throw new Error(`a vector calls ${step.call}, which this runner does not know`);
  }
  const result = run();
  return Array.isArray(result) ? result.map(plain) : result;
}

/** One event as JSON: bytes are hexadecimal, what is undefined is left out. */
export function plain(event: Event): unknown {
  return JSON.parse(JSON.stringify(event, (_, value: unknown) => (value instanceof Uint8Array ? hex(value) : value)));
}
