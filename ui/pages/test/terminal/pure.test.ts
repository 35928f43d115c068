import type { Session } from '@persistent-terminal-hub/client';
import { describe, expect, test } from 'vitest';

import { readFacts } from '../../src/terminal/facts.js';
import { EMPTY, hide, keep, move, readLayout, replace, show, tabsOf } from '../../src/terminal/layout.js';
import { harmless, isRisky, kindOf, linesOf, lossText, nameProblem, span, stateText } from '../../src/terminal/words.js';
import { session } from './made.js';

const ids = (sessions: readonly Session[]): string => sessions.map(({ id }) => id).join('');

describe('layout', () => {
  const [a, b, c] = [session('a'), session('b'), session('c')];

  test('what somebody else wrote is read as far as it can be', () => {
    for (const value of [null, 3, 'x', [], { order: 'abc' }, { order: [1, null, 'x'.repeat(65)] }]) {
      expect(readLayout(value)).toEqual(EMPTY);
    }
    expect(readLayout({ order: ['a', 'a', 'b'], more: 1 }).order).toEqual(['a', 'b']);
    expect(readLayout({ order: Array.from({ length: 500 }, (_, at) => `${at}`) }).order).toHaveLength(300);
  });

  test('all running sessions have a tab, unknown ones last', () => {
    expect(ids(tabsOf([a, b, c], { ...EMPTY, order: ['c', 'a', 'gone'] }))).toBe('cab');
    expect(ids(tabsOf([a, session('e', { state: 'ended' })], EMPTY))).toBe('a');
  });

  test('a closed tab stays closed, an opened one comes last', () => {
    const closed = hide({ ...EMPTY, order: ['a', 'b', 'c'] }, 'a');
    expect(ids(tabsOf([a, b, c], closed))).toBe('bc');
    expect(ids(tabsOf([a, b, c], show(closed, 'a')))).toBe('bca');
  });

  test('an ended session keeps its tab when it was seen to end, and a restart takes its place', () => {
    const ended = session('b', { state: 'ended' });
    const layout = keep({ ...EMPTY, order: ['a', 'b', 'c'] }, 'b');
    expect(ids(tabsOf([a, ended, c], layout))).toBe('abc');
    const again = replace(layout, tabsOf([a, ended, c], layout), 'b', 'n');
    expect(ids(tabsOf([a, c, session('n'), ended], again))).toBe('anc');
  });

  test('tabs move within their bounds', () => {
    const tabs = [a, b, c];
    expect(move(EMPTY, tabs, 'a', 1).order).toEqual(['b', 'a', 'c']);
    expect(move(EMPTY, tabs, 'c', 1).order).toEqual(['a', 'b', 'c']);
    expect(move(EMPTY, tabs, 'b', -9).order).toEqual(['b', 'a', 'c']);
    expect(move(EMPTY, tabs, 'unknown', 1)).toBe(EMPTY);
  });
});

describe('words', () => {
  test.each([
    [0, '0 seconds'], [1, '1 second'], [59.9, '59 seconds'], [60, '1 minute'], [119, '1 minute'], [120, '2 minutes'],
    [3700, '61 minutes'], [7200, '2 hours'], [90_000, '25 hours'], [200_000, '2 days']
  ])('%d s is %s', (seconds, text) => expect(span(seconds)).toBe(text));

  test('states', () => {
    const busy = session('a', { state: 'active', busy: true, busyFor: 180, program: 'python3', clients: 2 });
    expect(stateText(busy)).toBe('Busy: python3 runs for 3 minutes');
    expect(kindOf(busy, true)).toBe('locked');
    expect(lossText(busy)).toMatch(/python3 is running, for 3 minutes, and is stopped.*open in 2 places/);
    const ended = session('a', { state: 'ended', exit: { code: 3, signal: null, reason: null } });
    expect(stateText(ended)).toBe('Ended: exit code 3');
    expect(lossText(ended)).toMatch(/forgotten/);
    expect(stateText(session('a'))).toMatch(/Dormant/);
  });

  test('names', () => {
    expect(['a', 'train.1', 'A_b-c'].map(nameProblem)).toEqual(['', '', '']);
    expect(['', '.a', 'a b', 'ä', 'x'.repeat(65)].every(name => nameProblem(name) !== '')).toBe(true);
  });
});

describe('pasting', () => {
  test('a text that could run or act is looked at first', () => {
    expect(isRisky('ls -l')).toBe(false);
    expect(isRisky('a\tb')).toBe(false);
    expect(['ls\n', 'a\rb', '\u001b[201~x', 'a\u0003'].every(isRisky)).toBe(true);
  });
  test('lines are counted as a person counts them', () => {
    expect(['a', 'a\n', 'a\r\nb', 'a\nb\n\n'].map(linesOf)).toEqual([1, 1, 2, 3]);
  });
  test('what a terminal acts on is left out', () => {
    expect(harmless('a\u001b[201~\u0003b\tc\nd')).toBe('a[201~b\tc\nd');
  });
});

test('facts of the server', () => {
  expect(readFacts('{"baseUrl":"/user/a/","xsrf":"2|x","hubPath":3}')).toEqual({
    baseUrl: '/user/a/', hubPath: '', workspace: '', xsrf: '2|x'
  });
  expect(readFacts('nonsense').baseUrl).toBe('/');
  expect(readFacts(undefined).baseUrl).toBe('/');
});
