import { expect, test } from 'vitest';
import { headers, query } from '../src/admin/api';
import { Parser, pause } from '../src/admin/events';
import { bytes, counted, listed, moment, span } from '../src/admin/words';

test('however it is cut, the events are the same', () => {
  const text = ': hello\n\nid: a.1\nevent: board\ndata: {"x":\ndata: 1}\n\nevent: board\r\ndata:2\r\n\r\n: still here\n\ndata: 3\n';
  const whole = new Parser().feed(text);
  expect(whole).toEqual([
    { id: 'a.1', name: 'board', data: '{"x":\n1}' },
    { id: '', name: 'board', data: '2' }
  ]);
  for (const size of [1, 2, 3, 7, 20]) {
    const parser = new Parser();
    const found = [];
    for (let at = 0; at < text.length; at += size) {
      found.push(...parser.feed(text.slice(at, at + size)));
    }
    expect(found).toEqual(whole);
  }
});

test('pauses grow and differ', () => {
  expect(pause(0, 0)).toBe(250);
  expect(pause(3, 1)).toBe(4000);
  expect(pause(50, 1)).toBe(30_000);
});

test('the XSRF cookie is found', () => {
  expect(headers('a=b; _xsrf=x%3D1; c=d')).toEqual({ 'X-XSRFToken': 'x=1' });
  expect(headers('my_xsrf=1')).toEqual({});
});

test('queries leave out what is empty', () => {
  expect(query({ a: '', b: 'x y', c: null, d: 0, e: false, f: true })).toBe('?b=x+y&d=0&f=true');
  expect(query({})).toBe('');
});

test('words', () => {
  expect([5, 120, 7200, 500_000].map(span)).toEqual(['5 s', '2 min', '2 h', '6 days']);
  expect([0, 1536, 5 * 2 ** 30].map(bytes)).toEqual(['0 B', '1.5 KiB', '5.0 GiB']);
  expect([['a'], ['a', 'b'], ['a', 'b', 'c']].map(each => listed(each, 2))).toEqual(['“a”', '“a” and “b”', '“a”, “b” and 1 more']);
  expect([counted(1, 'session'), counted(0, 'session')]).toEqual(['1 session', '0 sessions']);
  expect([moment(null), moment('nonsense'), moment('1970-01-01T00:01:00Z')]).toEqual([null, null, 60]);
});
