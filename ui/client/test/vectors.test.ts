/** The vectors that every client of pth.v1 must pass: the files of the Python client. */

import { describe, expect, test } from 'vitest';

import { Code, MAX_CONTROL, MAX_INPUT, MAX_OUTPUT, ProtocolError } from '../src/codes.js';
import { decodeInput, decodeOutput, encodeInput, encodeOutput } from '../src/frames.js';
import { decodeClient, decodeServer, encode } from '../src/messages.js';
import { call, hex, make, read, scripts, unhex, type Script } from './machine.js';

interface Messages {
  readonly accept: ReadonlyArray<{ from: 'client' | 'server'; text: string; message: Record<string, unknown> }>;
  readonly reject: ReadonlyArray<{ from: 'client' | 'server'; text: string; code: number; note: string }>;
}
interface Frames {
  readonly output: ReadonlyArray<{ hex: string; kind: number; position: number; data: string }>;
  readonly output_reject: ReadonlyArray<{ hex: string; code: number; note: string }>;
  readonly input: ReadonlyArray<{ hex: string; seq: number; data: string }>;
  readonly input_reject: ReadonlyArray<{ hex: string; code: number; note: string }>;
}

const messages = read<Messages>('messages.json');
const frames = read<Frames>('frames.json');
const DECODE = { client: decodeClient, server: decodeServer };

function codeOf(work: () => unknown): number | null {
  try {
    work();
  } catch (error) {
    if (error instanceof ProtocolError) {
      return error.code;
    }
    throw error;
  }
  return null;
}

describe('control messages', () => {
  test.each(messages.accept)('accepted: $text', ({ from, text, message }) => {
    const decoded = DECODE[from](text);
    expect(decoded).toEqual(message);
    expect(JSON.parse(encode(decoded))).toEqual(message);
    expect(DECODE[from](encode(decoded))).toEqual(decoded);
  });

  // The vectors allow a client in JavaScript to take 1.0 for a whole number.
  test.each(messages.reject.filter(({ note }) => !note.includes('may take 1.0')))(
    'refused: $note $text',
    ({ from, text, code }) => {
      expect(codeOf(() => DECODE[from](text))).toBe(code);
    }
  );

  test('too large', () => {
    expect(codeOf(() => decodeServer(' '.repeat(MAX_CONTROL + 1)))).toBe(Code.tooLarge);
    expect(codeOf(() => decodeServer('['.repeat(MAX_CONTROL)))).toBe(Code.protocol);
    expect(() => encode({ type: 'token', token: 'x'.repeat(MAX_CONTROL) })).toThrow(RangeError);
  });

  test('a text is measured in characters, not in halves of them', () => {
    const title = '\u{1f600}'.repeat(1000);
    expect(decodeServer(JSON.stringify({ type: 'title', title }))).toEqual({ type: 'title', title });
    expect(codeOf(() => decodeServer(JSON.stringify({ type: 'title', title: title + 'x' })))).toBe(Code.protocol);
  });

  test('names that every object has are no types and no fields', () => {
    for (const type of ['__proto__', 'constructor', 'toString']) {
      expect(codeOf(() => decodeServer(`{"type":"${type}"}`))).toBe(Code.protocol);
    }
    expect(decodeServer('{"type":"ping","id":1,"__proto__":{"type":"exit"}}')).toEqual({ type: 'ping', id: 1 });
  });
});

describe('binary frames', () => {
  test.each(frames.output)('from the server: $hex', ({ hex: frame, kind, position, data }) => {
    const decoded = decodeOutput(unhex(frame));
    expect([decoded.kind, decoded.position, hex(decoded.data)]).toEqual([kind, position, data]);
    expect(hex(encodeOutput(kind, position, unhex(data)))).toBe(frame);
  });
  test.each(frames.input)('input: $hex', ({ hex: frame, seq, data }) => {
    const decoded = decodeInput(unhex(frame));
    expect([decoded.seq, hex(decoded.data)]).toEqual([seq, data]);
    expect(hex(encodeInput(seq, unhex(data)))).toBe(frame);
  });
  test.each(frames.output_reject)('refused from the server: $note', ({ hex: frame, code }) => {
    expect(codeOf(() => decodeOutput(unhex(frame)))).toBe(code);
  });
  test.each(frames.input_reject)('refused input: $note', ({ hex: frame, code }) => {
    expect(codeOf(() => decodeInput(unhex(frame)))).toBe(code);
  });
  test('too large', () => {
    expect(codeOf(() => decodeInput(encodeInput(1, new Uint8Array(MAX_INPUT + 1))))).toBe(Code.tooLarge);
    expect(codeOf(() => decodeOutput(encodeOutput(0, 1, new Uint8Array(MAX_OUTPUT + 1))))).toBe(Code.tooLarge);
  });
});

describe('the machine', () => {
  const names = scripts();
  test('all scripts are there', () => expect(names.length).toBeGreaterThanOrEqual(24));

  test.each(names)('%s', name => {
    const script = read<Script>(name);
    const client = make(script.config);
    script.steps.forEach((step, number) => {
      const where = `step ${number}: ${step.call} at ${step.at}`;
      expect(call(client, step), where).toEqual(step.expect);
      const wake = client.wakeAt;
      expect(wake === null ? null : Math.round(wake * 1e6) / 1e6, where).toBe(step.wake_at);
      expect(client.state.name, where).toBe(step.state);
    });
  });
});
