import { describe, expect, test } from 'vitest';

import { EMPTY, hide, readLayout, replace, resize, split, unsplit } from '../../src/terminal/layout.js';
import { beyond, bounded, join, leave, leaves, MOST_PANES, only, placesOf, readSplits, reshare, treeOf, type Fork } from '../../src/terminal/splits.js';
import { session } from './made.js';

const two: Fork = { way: 'beside', share: 0.5, first: 'a', second: 'b' };
/** a | b over c */
const three: Fork = { way: 'beside', share: 0.5, first: 'a', second: { way: 'below', share: 0.25, first: 'b', second: 'c' } };

describe('what was kept', () => {
  test('comes back as it was', () => {
    expect(readSplits(JSON.parse(JSON.stringify([three])))).toEqual([three]);
    expect(readLayout({ order: ['a'] })).toEqual({ ...EMPTY, order: ['a'] }); // of a page without splits
  });
  test.each([
    [null], ['x'], [['a']], [[{}]], [[{ first: 'a' }]], [[{ first: 'a', second: 'a' }]], [[{ first: 'a', second: 7 }]],
    [[{ first: 'a', second: 'x'.repeat(65) }]]
  ])('%j is no split', value => expect(readSplits(value)).toEqual([]));
  test('a session is shown once, a share is bounded, a part that is none is left out', () => {
    const odd = { way: 'around', share: 7, first: 'd', second: { first: 'a', second: 'e' } };
    expect(readSplits([two, odd])).toEqual([two, { way: 'beside', share: 0.9, first: 'd', second: 'e' }]);
    const deep = Array.from({ length: 40 }, (_, at) => `s${at}`).reduce<unknown>((second, first) => ({ first, second }), 'z');
    expect(leaves(readSplits([deep])[0] ?? '').length).toBe(MOST_PANES);
  });
});

describe('a tree', () => {
  test('takes a session in beside or below another, from wherever it was', () => {
    expect(join([], 'a', 'b', 'beside')).toEqual([two]);
    expect(leaves(join([three], 'c', 'a', 'below')[0] ?? '')).toEqual(['b', 'c', 'a']);
    expect(join([two, { ...two, first: 'c', second: 'd' }], 'a', 'd', 'below').map(leaves)).toEqual([['a', 'd', 'b']]);
    expect(join([two], 'a', 'a', 'below')).toEqual([two]);
  });
  test('is full at some time', () => {
    let splits: Fork[] = [];
    for (let at = 1; at < 20; at += 1) {
      splits = join(splits, 's0', `s${at}`, 'beside');
    }
    expect(splits.map(tree => leaves(tree).length)).toEqual([MOST_PANES]);
  });
  test('gives the room of a session that leaves to what was beside it', () => {
    expect(leave([three], 'b')).toEqual([{ ...two, second: 'c' }]);
    expect(leave([two], 'b')).toEqual([]);
    expect(only(three, id => id !== 'a')).toEqual(three.second);
    expect(only(three, () => false)).toBeNull();
    expect(treeOf([two], 'x')).toBe('x');
  });
  test('changes the share of one edge, within bounds', () => {
    expect(reshare([three], 'b', '2', 0.6)).toEqual([{ ...three, second: { ...(three.second as Fork), share: 0.6 } }]);
    expect(reshare([three], 'b', '', 5)[0]?.share).toBe(0.9);
    expect(reshare([three], 'x', '', 0.3)).toEqual([three]);
    expect(bounded(-1)).toBe(0.1);
  });
  test('says where everything is', () => {
    const { panes, edges } = placesOf(three);
    expect(panes.get('c')).toEqual({ x: 0.5, y: 0.25, width: 0.5, height: 0.75 });
    expect(edges.map(({ path, before }) => [path, before])).toEqual([['', ['a']], ['2', ['b']]]);
    const area = [...panes.values()].reduce((sum, { width, height }) => sum + width * height, 0);
    expect(area).toBeCloseTo(1);
  });
  test('leads from pane to pane', () => {
    expect((['left', 'right', 'up', 'down'] as const).map(way => beyond(three, 'a', way))).toEqual([null, 'c', null, null]);
    expect((['left', 'right', 'up', 'down'] as const).map(way => beyond(three, 'b', way))).toEqual(['a', null, null, 'c']);
    expect(beyond(three, 'x', 'left')).toBeNull();
  });
});

describe('in a layout', () => {
  const [a, b, c] = [session('a'), session('b'), session('c')];
  test('the tab of what is shown beside comes next to it, also when it had none', () => {
    expect(split(EMPTY, [a, b, c], 'a', 'c', 'beside')).toMatchObject({ order: ['a', 'c', 'b'], splits: [{ first: 'a', second: 'c' }] });
    const closed = hide({ ...EMPTY, order: ['a', 'b', 'c'] }, 'c');
    expect(split(closed, [a, b], 'a', 'c', 'below')).toMatchObject({ order: ['a', 'c', 'b'], hidden: [] });
  });
  test('closing, taking out, restarting', () => {
    const layout = { ...EMPTY, order: ['a', 'b', 'c'], splits: [three] };
    expect(hide(layout, 'a').splits).toEqual([three.second]);
    expect(unsplit(layout, 'a')).toEqual({ ...layout, splits: [three.second] });
    expect(leaves(replace(layout, [a, b, c], 'b', 'n').splits[0] ?? '')).toEqual(['a', 'n', 'c']);
    expect(resize(layout, 'c', '2', 0.5).splits[0]).toMatchObject({ second: { share: 0.5 } });
    expect(resize(layout, 'x', '', 0.5)).toBe(layout);
  });
});
