import type { Sink, TerminalStream } from '@persistent-terminal-hub/client';
import type { Terminal } from '@xterm/xterm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Absence, markText } from '../../src/terminal/absence.js';
import { Landmarks } from '../../src/terminal/landmarks.js';

const AGO = 300_000;

/** A page that comes back to a session which one left at byte 1,000. */
function page(begin: number | null) {
  const marks: number[] = [];
  const stream = { epoch: 'e', offset: null as number | null, end: null as number | null, begin };
  const getLine = (at: number) => ({ translateToString: () => (at < 3 ? '' : `line ${at}`) });
  const active = { type: 'normal', baseY: 1000, cursorY: 23, getLine };
  const label = { className: 'xterm-decoration', style: {}, textContent: '', replaceChildren: (one: { textContent: string }) => (label.textContent = one.textContent) };
  const term = {
    cols: 80,
    buffer: { active },
    registerMarker: (line: number) => {
      marks.push(line);
      return { isDisposed: false, line: active.baseY + active.cursorY + line, dispose: () => marks.pop() };
    },
    registerDecoration: () => ({ onRender: (draw: (element: typeof label) => void) => draw(label), dispose: () => undefined })
  };
  const drawn: Array<() => void> = [];
  const to: Sink = { write: (_, parsed) => parsed(), reset: () => undefined };
  const landmarks: Landmarks = new Landmarks(to, () => absence.cleared(), () => drawn.forEach(one => one()));
  const absence = new Absence('id', term as unknown as Terminal, stream as unknown as TerminalStream, landmarks, () => undefined);
  drawn.push(() => absence.drawn());
  const attach = (offset: number): void => {
    absence.come();
    landmarks.sink.reset();
    landmarks.sink.write(new Uint8Array(4), () => undefined, null); // the first part of it
    stream.offset = stream.end = offset;
    absence.count();
    landmarks.sink.write(new Uint8Array(4), () => undefined, null);
  };
  return { absence, active, attach, label, landmarks, marks, stream };
}

describe('coming back', () => {
  beforeEach(() => {
    const left = { epoch: 'e', offset: 1000, at: Date.now() - AGO };
    vi.stubGlobal('localStorage', { getItem: () => JSON.stringify({ id: left }), setItem: () => undefined });
    vi.stubGlobal('document', { createElement: () => ({ textContent: '' }) });
  });
  afterEach(() => vi.unstubAllGlobals());

  test('the place is above all that is still there: a mark at the first line says how far', () => {
    const { absence, attach, label, marks } = page(51_200);
    attach(200_000);
    expect(marks).toEqual([-1020]);
    expect(absence.marked).toBe(true);
    expect(absence.above).toBe(50_200);
    expect(absence.missed?.bytes).toBe(199_000);
    expect(label.textContent).toMatch(/^You left further up, at .*; 49 KiB of output came before this line$/);
    absence.forget();
    expect(marks).toEqual([]);
    expect(absence.above).toBeNull();
  });
  test('it is among the lines, nobody knows where, or where they begin is not known: no mark', () => {
    for (const begin of [500, 1000, null]) {
      const { absence, attach, marks } = page(begin);
      attach(200_000);
      expect(marks).toEqual([]);
      expect(absence.marked).toBe(false);
      expect(absence.missed?.bytes).toBe(199_000);
    }
  });
  test('another process, or a program on the whole screen: no mark', () => {
    const other = page(51_200);
    other.stream.epoch = 'f';
    other.attach(200_000);
    expect(other.marks).toEqual([]);
    expect(other.absence.missed).toBeNull();
    const whole = page(51_200);
    whole.active.type = 'alternate';
    whole.attach(200_000);
    expect(whole.marks).toEqual([]);
  });
  test('the place itself comes by: the mark is there', () => {
    const { absence, landmarks, label, marks, stream } = page(0);
    absence.come();
    landmarks.sink.reset();
    stream.offset = stream.end = 2000;
    absence.count();
    landmarks.sink.write(new Uint8Array(2000), () => undefined, 0);
    expect(marks).toEqual([0]);
    expect(absence.above).toBeNull();
    expect(label.textContent).toMatch(/^You left here at /);
  });
  test('in words', () => {
    const at = new Date(2026, 10, 22, 9, 5).getTime();
    expect(markText(at, 2 ** 20)).toMatch(/; 1\.0 MiB of output came before this line$/);
  });
});
