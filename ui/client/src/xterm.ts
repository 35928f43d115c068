/**
 * xterm.js as a sink. Types by shape, so that nothing of it is needed here: `@xterm/xterm`, `@xterm/headless`.
 *
 * xterm.js tells what a person typed and what it answers itself by the same event. It answers while it parses,
 * and a person never types in the middle of that, so a hook at each query tells them apart.
 */

import type { Sink } from './feeder.js';

interface Disposable {
  dispose(): void;
}
interface FunctionId {
  readonly prefix?: string;
  readonly intermediates?: string;
  readonly final: string;
}
/** The part of a terminal of xterm.js that is used. */
export interface XtermLike {
  write(data: Uint8Array, done?: () => void): void;
  reset(): void;
  resize(cols: number, rows: number): void;
  onData(listener: (data: string) => void): Disposable;
  onBinary(listener: (data: string) => void): Disposable;
  readonly parser: {
    registerCsiHandler(id: FunctionId, handler: (params: Array<number | number[]>) => boolean): Disposable;
    registerDcsHandler(id: FunctionId, handler: (data: string, params: Array<number | number[]>) => boolean): Disposable;
    registerOscHandler(id: number, handler: (data: string) => boolean): Disposable;
  };
}

/** Where input and answers go: a `TerminalStream`. */
export interface Typist {
  readonly mayAnswer: boolean;
  input(data: string | Uint8Array): void;
  answer(data: string): void;
}

/** Device attributes, status and cursor reports, modes, version, keyboard, window size. */
const CSI: readonly FunctionId[] = [
  { final: 'c' },
  { prefix: '>', final: 'c' },
  { prefix: '=', final: 'c' },
  { final: 'n' },
  { prefix: '?', final: 'n' },
  { intermediates: '$', final: 'p' },
  { prefix: '?', intermediates: '$', final: 'p' },
  { prefix: '>', final: 'q' },
  { prefix: '?', final: 'u' },
  { final: 't' }
];
/** DECRQSS, XTGETTCAP. */
const DCS: readonly FunctionId[] = [
  { intermediates: '$', final: 'q' },
  { intermediates: '+', final: 'q' }
];
/** Colours: a question when it contains `?`. */
const OSC: readonly number[] = [4, 10, 11, 12];
/** Window reports among what `CSI t` does; the rest changes something and answers nothing. */
const REPORTS: ReadonlySet<number> = new Set([11, 13, 14, 15, 16, 18, 19, 20, 21]);

/** Modes that xterm.js reports on at once when they are set: focus, colours, size. */
const TELLING: ReadonlySet<number> = new Set([1004, 2031, 2048]);

/** Joins a terminal of xterm.js to a stream that is made afterwards with `sink`. */
export class XtermAdapter implements Disposable {
  readonly sink: Sink;
  private typist: Typist | null = null;
  private answering = false;
  private readonly disposables: Disposable[] = [];

  constructor(term: XtermLike) {
    this.sink = {
      write: (data, parsed) => term.write(data, parsed),
      reset: () => term.reset(),
      resize: (rows, cols) => term.resize(cols, rows)
    };
    const { parser } = term;
    for (const id of CSI) {
      this.keep(parser.registerCsiHandler(id, params => this.asked(id, params)));
    }
    this.keep(parser.registerCsiHandler({ prefix: '?', final: 'h' }, params => this.setModes(params)));
    for (const id of DCS) {
      this.keep(parser.registerDcsHandler(id, () => this.query()));
    }
    for (const id of OSC) {
      this.keep(parser.registerOscHandler(id, data => data.includes('?') && this.query()));
    }
    // What a person has in the clipboard is no program's business.
    this.keep(parser.registerOscHandler(52, data => data.endsWith(';?')));
    this.keep(term.onData(data => this.data(data)));
    this.keep(term.onBinary(data => this.typist?.input(Uint8Array.from(data, letter => letter.charCodeAt(0)))));
  }

  /** From now on what is typed, and what is answered, goes there. */
  attach(typist: Typist | null): void {
    this.typist = typist;
  }

  dispose(): void {
    this.typist = null;
    this.disposables.splice(0).forEach(one => one.dispose());
  }

  private keep(one: Disposable): void {
    this.disposables.push(one);
  }

  private asked(id: FunctionId, params: ReadonlyArray<number | number[]>): boolean {
    const first = params[0];
    return id.final === 't' && !(typeof first === 'number' && REPORTS.has(first)) ? false : this.query();
  }

  /** A query is being parsed; true keeps xterm.js from answering it. */
  private query(): boolean {
    if (!this.typist?.mayAnswer) {
      return true;
    }
    this.answers();
    return false;
  }

  /** A mode must be set, also when nobody may be told. */
  private setModes(params: ReadonlyArray<number | number[]>): boolean {
    if (params.some(mode => typeof mode === 'number' && TELLING.has(mode))) {
      this.answers();
    }
    return false;
  }

  private answers(): void {
    this.answering = true;
    // Parsing goes on to the end of this turn of the event loop; no key is heard before.
    queueMicrotask(() => {
      this.answering = false;
    });
  }

  private data(data: string): void {
    if (this.answering) {
      this.typist?.answer(data);
    } else {
      this.typist?.input(data);
    }
  }
}
