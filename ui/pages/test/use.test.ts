import { expect, test } from 'vitest';
import { consumers, series } from '../src/admin/use';
import { matching } from '../src/admin/yaml';

const amount = { cpuSeconds: 30, memoryBytes: 5, diskBytes: 0, receivedBytes: 2, sentBytes: 1 };

test('a chart has a gap where nothing was measured, and no part that is not over', () => {
  const { cpu, memory } = series([60, 180, 240].map(at => ({ at, ...amount })), 0, 270, 60);
  expect(cpu).toEqual([[60, 120, 180], [0.5, null, 0.5]]);
  expect(memory[1]).toEqual([5, null, 5]);
  expect(series([], 0, 270, 60).cpu).toEqual([[], []]);
});

test('consumers', () => {
  const used = [{ user: 'a', name: '', ...amount }, { user: 'b', name: 'gpu', ...amount, cpuSeconds: 90, sentBytes: 0 }];
  expect(consumers(used, 'cpuSeconds')).toEqual([{ title: 'b/gpu', value: 90 }, { title: 'a', value: 30 }]);
  expect(consumers(used, 'sentBytes').map(each => each.value)).toEqual([3, 2]);
  expect(consumers(used, 'diskBytes')).toEqual([]);
  expect(consumers(used, 'cpuSeconds', 1)).toHaveLength(1);
});

test('lines of settings with what they belong to', () => {
  const lines = ['a: 1', 'session:', '  ttl: 5', '  deep:', '    x: 1', 'auth:', '  provider: local'];
  expect(matching(lines, 'x')).toEqual(['session:', '  deep:', '    x: 1']);
  expect(matching(lines, 'SESSION')).toEqual(['session:', '  ttl: 5', '  deep:', '    x: 1']);
  expect(matching(lines, 'provider')).toEqual(['auth:', '  provider: local']);
  expect(matching(lines, '')).toEqual(lines);
  expect(matching(lines, 'nothing')).toEqual([]);
});
