import { describe, expect, test } from 'vitest';
import { clicked, moved, revealing, search, sort, windowOf } from '../src/admin/table';

describe('search', () => {
  const rows = ['Ann lab', 'ann work', 'Bob LAB', 'דניאל lab'].map(name => ({ name }));
  const found = (query: string) => search(rows, query, row => row.name).map(row => row.name);
  test('every word, any case', () => {
    expect(found('lab ANN')).toEqual(['Ann lab']);
    expect(found('  ')).toHaveLength(4);
    expect(found('דני')).toEqual(['דניאל lab']);
    expect(found('lab x')).toEqual([]);
  });
});

describe('sort', () => {
  const rows = [{ n: 2, t: 'b' }, { n: null, t: 'x' }, { n: 1, t: 'c' }, { n: 2, t: 'a' }];
  const order = (down: boolean) => sort(rows, row => row.n, down, row => row.t).map(row => row.t).join('');
  test('nothing comes last either way, equal ones by name', () => {
    expect(order(false)).toBe('cabx');
    expect(order(true)).toBe('abcx');
  });
  test('text by letters, not by case', () => {
    expect(sort(['b', 'A', 'a'], text => text, false, text => text)).toEqual(['A', 'a', 'b']);
  });
  test('a second click turns it round', () => {
    expect(clicked({ by: 'a', down: false }, 'a')).toEqual({ by: 'a', down: true });
    expect(clicked({ by: 'a', down: true }, 'b')).toEqual({ by: 'b', down: false });
  });
});

describe('the rows on the screen', () => {
  test.each([
    [0, 400, 40, 10_000, { first: 0, end: 18 }],
    [4000, 400, 40, 10_000, { first: 92, end: 118 }],
    [399_600, 400, 40, 10_000, { first: 9982, end: 10_000 }],
    [9e9, 400, 40, 10_000, { first: 9982, end: 10_000 }], // the list became shorter while scrolled down
    [-50, 400, 40, 3, { first: 0, end: 3 }],
    [0, 400, 40, 0, { first: 0, end: 0 }]
  ])('%d px of %d px', (top, height, rowHeight, count, expected) => {
    expect(windowOf(top, height, rowHeight, count)).toEqual(expected);
  });
  test('never more than a screen and a bit', () => {
    for (let top = 0; top < 400_000; top += 997) {
      const { first, end } = windowOf(top, 777, 40, 10_000);
      expect(end - first).toBeLessThanOrEqual(Math.ceil(777 / 40) + 1 + 16);
      expect(first * 40).toBeLessThanOrEqual(top);
      expect(end * 40).toBeGreaterThanOrEqual(Math.min(400_000, top + 777));
    }
  });
  test('keys', () => {
    expect(moved('ArrowDown', 0, 3, 10)).toBe(1);
    expect(moved('PageDown', 0, 3, 10)).toBe(2);
    expect(moved('ArrowUp', 0, 3, 10)).toBe(0);
    expect(moved('End', 0, 3, 10)).toBe(2);
    expect(moved('x', 0, 3, 10)).toBeNull();
    expect(moved('End', 0, 0, 10)).toBeNull();
    expect(revealing(5, 0, 100, 40)).toBe(140);
    expect(revealing(1, 80, 100, 40)).toBe(40);
    expect(revealing(1, 0, 100, 40)).toBeNull();
  });
});
