import assert from 'node:assert/strict';
import { test } from 'vitest';

import { readSession, type Session } from '@persistent-terminal-hub/client';
import { choices, decided, freeName } from '../src/run/choice.js';
import { sourceOf, textOf, type ContentLike, type EditorLike } from '../src/run/text.js';

test('what only a notebook understands is left out', () => {
  const cases: ReadonlyArray<readonly [source: string, text: string]> = [
    ['echo a', 'echo a'],
    ['%%bash\necho a\necho b\n', 'echo a\necho b'],
    ['%%terminal train --force\npython3 train.py', 'python3 train.py'],
    ['%%bash', ''],
    ['!ls\n! pwd', 'ls\npwd'],
    ['x = 1\n!ls', 'x = 1\n!ls'],
    ['\n\n  if x:\n    y()\n\n', '  if x:\n    y()'],
    ['a\r\nb\rc', 'a\nb\nc'],
    ['a\tb', 'a\tb'],
    ['echo \u001b[201~; rm', 'echo [201~; rm'],
    ['%%time\nx', '%%time\nx']
  ];
  for (const [source, text] of cases) {
    assert.equal(textOf(source), text, JSON.stringify(source));
  }
});

/** One line long; from and to are columns. */
const editor = (text: string, from = 0, to = 0): EditorLike => ({
  model: { sharedModel: { getSource: () => text } },
  getSelection: () => ({ start: { line: 0, column: from }, end: { line: 0, column: to } }),
  getOffsetAt: ({ column }) => column,
  getLine: line => text.split('\n')[line]
});
const cell = (text: string, from = 0, to = 0, type = 'code') => ({
  model: { type, sharedModel: { getSource: () => text } },
  editor: editor(text, from, to)
});

test('a selection, else the cells, else the line', () => {
  const one = cell('echo one');
  assert.equal(sourceOf({ activeCell: one }), 'echo one');
  assert.equal(sourceOf({ activeCell: cell('echo one', 5, 8) }), 'one');
  assert.equal(sourceOf({ activeCell: cell('echo one', 8, 5) }), 'one');
  const several: ContentLike = {
    activeCell: one,
    widgets: [one, cell('# Title', 0, 0, 'markdown'), cell('%%bash\necho two'), cell('left out')],
    isSelectedOrActive: found => found.model.sharedModel.getSource() !== 'left out'
  };
  assert.equal(sourceOf(several), 'echo one\necho two');
  assert.equal(sourceOf({ editor: editor('first\nsecond') }), 'first');
  assert.equal(sourceOf({ editor: editor('first\nsecond', 0, 4) }), 'firs');
});

test('what has no text', () => {
  for (const content of [null, undefined, {}, { activeCell: null }, { editor: {} as EditorLike }]) {
    assert.equal(sourceOf(content), null);
  }
});

const session = (id: string, more: object = {}): Session => {
  const read = readSession({ id, name: id, state: 'dormant', ...more });
  assert.ok(read);
  return read;
};

test('a question only where there is one', () => {
  const [a, b] = [session('a'), session('b', { busy: true })];
  assert.equal(decided([], null), 'new');
  assert.equal(decided([], 'a'), 'new');
  assert.equal(decided([a, b], null), 'ask');
  assert.equal(decided([a, b], 'a'), a);
  assert.equal(decided([a, b], 'b'), 'ask'); // a program runs there
  assert.equal(decided([a], 'gone'), 'ask');
  assert.equal(choices([a, b]).length, 3);
  assert.equal(freeName([a]), 'notebook');
  assert.equal(freeName([session('x', { name: 'notebook' })]), 'notebook-2');
  assert.equal(freeName([session('x', { name: 'notebook', state: 'ended' })]), 'notebook');
});
