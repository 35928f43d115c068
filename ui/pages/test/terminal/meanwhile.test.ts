import type { Own, Sink } from '@persistent-terminal-hub/client';
import { describe, expect, test } from 'vitest';

import { amount, readLeft, sinceText } from '../../src/terminal/away.js';
import { CommandWatch, endText } from '../../src/terminal/commands.js';
import { selectedText } from '../../src/terminal/copying.js';
import { Landmarks } from '../../src/terminal/landmarks.js';
import { commandText } from '../../src/terminal/prompts.js';
import { actionOf, keysText, SHORTCUTS } from '../../src/terminal/shortcuts.js';

describe('the end of a command', () => {
  test('is told by marks, with its exit code', () => {
    const watch = new CommandWatch();
    expect(watch.mark('A', true, 0)).toBeNull();
    expect(watch.mark('B', true, 0)).toBeNull();
    expect(watch.mark('C', true, 1, 'make test')).toBeNull();
    expect(watch.mark('D;2', true, 61)).toEqual({ what: 'make test', seconds: 60, code: 2 });
    expect(watch.mark('A', true, 61)).toBeNull();
    expect(watch.mark('D;0', true, 62)).toBeNull(); // Enter on an empty line
  });
  test('is no news when it is replayed', () => {
    const watch = new CommandWatch();
    watch.mark('C', false, 0, 'old');
    expect(watch.mark('D;0', false, 100)).toBeNull();
  });
  test('is told when the command began before the page came: the list knows since when', () => {
    const watch = new CommandWatch();
    watch.mark('C', false, 1000, 'train');
    watch.facts(true, 300, 'python3', 1001);
    expect(watch.mark('D;0', true, 1010)).toEqual({ what: 'train', seconds: 309, code: 0 });
    expect(watch.facts(true, 308, 'python3', 1010.5)).toBeNull(); // an answer that was on its way
    expect(watch.facts(false, null, null, 1014)).toBeNull();
  });
  test('is told by the list alone, once', () => {
    const watch = new CommandWatch();
    expect(watch.facts(true, 12, 'sleep', 12)).toBeNull();
    expect(watch.facts(true, 16, 'sleep', 16)).toBeNull();
    expect(watch.facts(false, null, null, 20)).toEqual({ what: 'sleep', seconds: 20, code: null });
    expect(watch.facts(false, null, null, 24)).toBeNull();
  });
  test('a loop of the shell itself ends with its mark, not between its programs', () => {
    const watch = new CommandWatch();
    watch.mark('C', true, 0, 'for …');
    watch.facts(true, 1, 'sleep', 4);
    expect(watch.facts(false, null, null, 8)).toBeNull();
    expect(watch.mark('A', true, 30)).toEqual({ what: 'for …', seconds: 30, code: null });
  });
  test('is told by the list when marks were left out', () => {
    const watch = new CommandWatch();
    watch.mark('C', true, 0, 'cat');
    watch.lost();
    watch.facts(true, 20, 'cat', 20);
    expect(watch.facts(false, null, null, 24)).toEqual({ what: 'cat', seconds: 24, code: null });
  });
  test('in words', () => {
    expect(endText({ what: 'make', seconds: 60, code: 2 }, '1 minute')).toBe('make ended after 1 minute, with exit code 2.');
    expect(endText({ what: null, seconds: 60, code: null }, '1 minute')).toBe('A command ended after 1 minute.');
  });
});

describe('landmarks', () => {
  function fed(own: Own | null = null): { landmarks: Landmarks; log: string[]; parse: () => void } {
    const log: string[] = [];
    const queue: Array<() => void> = [];
    const to: Sink = {
      write: (data, parsed) =>
        void queue.push(() => {
          if (data.length > 0) {
            log.push(`${new TextDecoder().decode(data)}@${landmarks.at}`);
          }
          parsed();
        }),
      reset: () => log.push('reset')
    };
    const landmarks = new Landmarks(to, () => log.push('cleared'), () => log.push('drawn'), () => own);
    return { landmarks, log, parse: () => queue.splice(0).forEach(step => step()) };
  }
  const write = (landmarks: Landmarks, log: string[], text: string, offset: number | null): void =>
    landmarks.sink.write(new TextEncoder().encode(text), () => log.push('parsed'), offset);

  test('are reached between the bytes before and the bytes behind', () => {
    const { landmarks, log, parse } = fed();
    landmarks.when(102, () => log.push('here'));
    landmarks.when(106, () => log.push('end'));
    write(landmarks, log, 'frame', null);
    write(landmarks, log, 'abcdef', 100);
    write(landmarks, log, 'g', 106);
    parse();
    expect(log).toEqual(['frame@null', 'parsed', 'drawn', 'ab@100', 'here', 'cdef@102', 'end', 'parsed', 'g@106', 'parsed']);
  });
  test('in what recreates a screen, as far as that is the output itself', () => {
    const { landmarks, log, parse } = fed({ place: 3, offset: 50 });
    for (const offset of [48, 50, 53, 56, 57, 70]) {
      landmarks.when(offset, () => log.push(`${offset}`));
    }
    write(landmarks, log, 'he', null);
    write(landmarks, log, 'adabc', null);
    write(landmarks, log, 'de', null);
    write(landmarks, log, 'fg', 56);
    parse();
    expect(log).toEqual([
      'he@null', 'parsed', 'drawn', 'a@null', '50', 'dab@null', '53', 'c@null', 'parsed', 'drawn', 'de@null', '56', 'parsed', 'drawn',
      'f@56', '57', 'g@57', 'parsed'
    ]);
  });
  test('at the place where the stream is; not where it has been', () => {
    const { landmarks, log, parse } = fed();
    write(landmarks, log, 'ab', 0);
    landmarks.when(2, () => log.push('here'));
    landmarks.when(1, () => log.push('never'));
    parse();
    landmarks.sink.reset();
    landmarks.when(2, () => log.push('again'));
    write(landmarks, log, 'cd', 2);
    parse();
    expect(log).toEqual(['ab@0', 'parsed', 'here', 'cleared', 'reset', 'again', 'cd@2', 'parsed']);
  });
});

/** Lines of a terminal; `~` before one: it goes on with the one before. */
function terminal(rows: readonly string[], from: readonly [number, number], to: readonly [number, number], block = false) {
  const lines = rows.map(row => ({ isWrapped: row.startsWith('~'), text: row.replace(/^~/, '') }));
  const getLine = (y: number) => {
    const line = lines[y];
    return line && {
      isWrapped: line.isWrapped,
      translateToString: (_: boolean, start = 0, end?: number) => line.text.slice(start, end)
    };
  };
  const parts = lines.slice(from[1], to[1] + 1).map(({ text, isWrapped }, at, all) => ({
    text: block ? text.slice(from[0], to[0]) : text.slice(at === 0 ? from[0] : 0, at === all.length - 1 ? to[0] : undefined),
    isWrapped: isWrapped && at > 0 && !block
  }));
  return {
    getSelection: () => parts.reduce((all, { text, isWrapped }, at) => all + (at === 0 || isWrapped ? '' : '\n') + text, ''),
    getSelectionPosition: () => ({ start: { x: from[0], y: from[1] }, end: { x: to[0], y: to[1] } }),
    buffer: { active: { getLine } }
  } as unknown as Parameters<typeof selectedText>[0];
}

describe('copying', () => {
  const rows = ['$ echo long wor', '~d 漢字 ', 'next  ', '', 'last'];
  test('a line that the window has broken is one, or as shown; blanks at an end are none', () => {
    const term = terminal(rows, [2, 0], [4, 4]);
    expect(selectedText(term, 'joined')).toBe('echo long word 漢字\nnext\n\nlast');
    expect(selectedText(term, 'shown')).toBe('echo long wor\nd 漢字\nnext\n\nlast');
  });
  test('a part of one line is as it was selected', () => {
    expect(selectedText(terminal(rows, [0, 2], [6, 2]), 'joined')).toBe('next  ');
  });
  test('a block has its rows both ways', () => {
    const term = terminal(['abcd', '~efgh', 'ijkl'], [1, 0], [3, 2], true);
    expect(selectedText(term, 'joined')).toBe('bc\nfg\njk');
    expect(selectedText(term, 'shown')).toBe('bc\nfg\njk');
  });
  test('the text of a command', () => {
    const { buffer } = terminal(['$ make te', '~st  ', 'output'], [0, 0], [0, 2]);
    expect(commandText(buffer.active, 0, 2, 2)).toBe('make test');
    expect(commandText(terminal(['$ ', 'output'], [0, 0], [0, 1]).buffer.active, 0, 2, 1)).toBeNull();
    expect(commandText(terminal([`$ ${'x'.repeat(200)}`], [0, 0], [0, 0]).buffer.active, 0, 2, 1)).toHaveLength(80);
  });
});

describe('being away', () => {
  test('amounts', () => {
    expect([1, 900, 1024, 12_345, 5e6, 3e9].map(amount)).toEqual(['1 byte', '900 bytes', '1.0 KiB', '12 KiB', '4.8 MiB', '2.8 GiB']);
    expect(sinceText(12_345, 300_000)).toBe('12 KiB in 5 minutes since you left');
  });
  test('what was kept is read as far as it makes sense, the newest of it', () => {
    expect(readLeft('nonsense')).toEqual({});
    expect(readLeft('{"a":{"epoch":"e","offset":-1.5,"at":1},"b":{"epoch":"e","offset":3,"at":1}}')).toEqual({
      b: { epoch: 'e', offset: 3, at: 1 }
    });
    const many = Object.fromEntries(Array.from({ length: 400 }, (_, at) => [`s${at}`, { epoch: 'e', offset: 1, at }]));
    expect(Object.keys(readLeft(JSON.stringify(many)))).toHaveLength(300);
    expect(readLeft(JSON.stringify(many))['s0']).toBeUndefined();
  });
});

test('keys', () => {
  const key = { ctrlKey: true, altKey: false, shiftKey: true, metaKey: false, code: 'KeyF' };
  expect(actionOf(key)).toBe('find');
  expect(actionOf({ ...key, shiftKey: false })).toBeNull();
  expect(actionOf({ ...key, altKey: true })).toBeNull();
  expect(actionOf({ ...key, ctrlKey: false, altKey: true, code: 'ArrowLeft' })).toBe('before');
  expect(new Set(SHORTCUTS.map(keysText)).size).toBe(SHORTCUTS.length);
  expect(keysText({ with: 'Ctrl', code: 'ArrowUp' })).toBe('Ctrl+Shift+↑');
});
