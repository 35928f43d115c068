/** The real emulator: its own answers are told from what a person types, and not given twice. */

import headless from '@xterm/headless';
import { beforeEach, expect, test } from 'vitest';

import { XtermAdapter } from '../src/xterm.js';
import { bytes } from './machine.js';

const ESC = '\x1b';
let term: InstanceType<typeof headless.Terminal>;
let adapter: XtermAdapter;
let typist: { mayAnswer: boolean; typed: string[]; answered: string[] };

beforeEach(() => {
  term = new headless.Terminal({ rows: 24, cols: 80, allowProposedApi: true });
  adapter = new XtermAdapter(term);
  const [typed, answered]: [string[], string[]] = [[], []];
  typist = { mayAnswer: true, typed, answered };
  adapter.attach({
    get mayAnswer() {
      return typist.mayAnswer;
    },
    input: data => void typed.push(typeof data === 'string' ? data : new TextDecoder('latin1').decode(data)),
    answer: data => void answered.push(data)
  });
});
const write = (text: string): Promise<void> => new Promise(done => adapter.sink.write(bytes(text), done, 0));

const QUERIES = [`${ESC}[c`, `${ESC}[>c`, `${ESC}[5n`, `${ESC}[6n`, `${ESC}[?6n`, `${ESC}[?1$p`, `${ESC}P$qm${ESC}\\`];

test.each(QUERIES)('%j is answered by who may, and only then', async query => {
  await write(query);
  expect(typist.answered).toHaveLength(1);
  typist.mayAnswer = false;
  await write(query);
  expect(typist.answered).toHaveLength(1);
  expect(typist.typed).toEqual([]);
});

test('a focus report that a mode asks for is nobody’s typing', async () => {
  typist.mayAnswer = false;
  await write(`${ESC}[?1004h`);
  expect(typist.typed).toEqual([]);
  expect(term.modes.sendFocusMode).toBe(true);
});

test('the clipboard is never told', async () => {
  await write(`${ESC}]52;c;?\x07`);
  expect([typist.typed, typist.answered]).toEqual([[], []]);
});

test('what is typed right after an answer is typed', async () => {
  await write(`text ${ESC}[6n more`);
  term.input('x');
  expect(typist.answered).toEqual([`${ESC}[1;6R`]);
  expect(typist.typed).toEqual(['x']);
  expect(term.buffer.active.getLine(0)?.translateToString(true)).toBe('text  more');
});

test('sizes come as rows and columns', () => {
  adapter.sink.resize?.(30, 100);
  expect([term.rows, term.cols]).toEqual([30, 100]);
});
