/** Where somebody stopped looking at a session on this device, and what was printed since. */

import { span } from './words.js';

export interface Left {
  readonly epoch: string;
  readonly offset: number;
  /** Milliseconds of the wall clock. */
  readonly at: number;
}

const KEY = 'persistent-terminals-left';
/** Sessions that are remembered: the newest. */
const MOST = 300;
/** Milliseconds that one must have been away before it is worth a word. */
export const AWAY = 10_000;

type Kept = Record<string, Left>;

const isLeft = (value: unknown): value is Left => {
  const { epoch, offset, at } = (value ?? {}) as Record<string, unknown>;
  return typeof epoch === 'string' && Number.isSafeInteger(offset) && typeof at === 'number' && Number.isFinite(at);
};

/** What was kept, as far as it makes sense; the newest last. */
export function readLeft(text: string | null): Kept {
  let raw: unknown = null;
  try {
    raw = JSON.parse(text ?? '{}');
  } catch {
    // nothing, then
  }
  const entries = Object.entries((raw ?? {}) as Record<string, unknown>).filter((one): one is [string, Left] => isLeft(one[1]));
  return Object.fromEntries(entries.sort(([, a], [, b]) => a.at - b.at).slice(-MOST));
}

export function leftOf(id: string): Left | null {
  try {
    return readLeft(localStorage.getItem(KEY))[id] ?? null;
  } catch {
    return null; // not allowed to remember
  }
}

export function keepLeft(id: string, left: Left): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(readLeft(JSON.stringify({ ...readLeft(localStorage.getItem(KEY)), [id]: left }))));
  } catch {
    // the same
  }
}

/** `512 bytes`, `12 KiB`. */
export function amount(bytes: number): string {
  if (bytes < 1024) {
    return bytes === 1 ? '1 byte' : `${bytes} bytes`;
  }
  const [size, unit] = bytes < 1024 ** 2 ? [1024, 'KiB'] : bytes < 1024 ** 3 ? [1024 ** 2, 'MiB'] : [1024 ** 3, 'GiB'];
  const count = bytes / size;
  return `${count < 10 ? count.toFixed(1) : Math.round(count)} ${unit}`;
}

/** `12 KiB in 5 minutes since you left`. */
export function sinceText(bytes: number, milliseconds: number): string {
  return `${amount(bytes)} in ${span(milliseconds / 1000)} since you left`;
}
