import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Desk } from '../../src/terminal/desk.js';
import { EMPTY, type Layout } from '../../src/terminal/layout.js';

const ONE: Layout = { ...EMPTY, order: ['a'] };

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('window', globalThis);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('a change is kept when it has settled, or at once when the page goes away', () => {
  const kept: unknown[] = [];
  const desk = new Desk({ keepLayout: async (layout, leaving) => void kept.push([layout, leaving]) }, () => undefined);
  desk.leave();
  expect(kept).toEqual([]);
  expect(desk.arrange(ONE)).toBe(true);
  vi.advanceTimersByTime(1000);
  expect(kept).toEqual([[ONE, false]]);
  desk.leave();
  desk.arrange(EMPTY);
  desk.leave();
  vi.advanceTimersByTime(1000);
  expect(kept).toEqual([[ONE, false], [EMPTY, true]]);
});
