// Searching, sorting, and which rows are on the screen. Pure.

export type Key = string | number | null;
export interface Order {
  readonly by: string;
  readonly down: boolean;
}

const texts = new WeakMap<object, string>();

/** Rows that hold every word, whatever its case. `textOf` is asked once for each object. */
export function search<T extends object>(rows: readonly T[], query: string, textOf: (row: T) => string): readonly T[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) {
    return rows;
  }
  return rows.filter(row => {
    let text = texts.get(row);
    if (text === undefined) {
      text = textOf(row).toLowerCase();
      texts.set(row, text);
    }
    return words.every(word => text.includes(word));
  });
}

/** In order of `keyOf`, nothing last whichever way; equal ones in order of `tieOf`. */
export function sort<T>(
  rows: readonly T[],
  keyOf: (row: T) => Key,
  down: boolean,
  tieOf: (row: T) => string
): readonly T[] {
  const keyed = rows.map(row => {
    const key = keyOf(row);
    return { row, key: typeof key === 'string' ? key.toLowerCase() : key, tie: tieOf(row) };
  });
  const sign = down ? -1 : 1;
  keyed.sort((a, b) => {
    if (a.key !== b.key) {
      if (a.key === null) {
        return 1;
      }
      if (b.key === null) {
        return -1;
      }
      return a.key < b.key ? -sign : sign;
    }
    return a.tie < b.tie ? -1 : a.tie > b.tie ? 1 : 0;
  });
  return keyed.map(each => each.row);
}

/** The order after a click on a column. */
export const clicked = (order: Order, by: string): Order => ({ by, down: order.by === by ? !order.down : false });

/** The rows from `first` up to `end` are drawn. */
export function windowOf(
  top: number,
  height: number,
  rowHeight: number,
  count: number,
  beyond = 8
): { first: number; end: number } {
  const from = Math.min(Math.max(0, top), Math.max(0, count * rowHeight - height));
  const first = Math.max(0, Math.floor(from / rowHeight) - beyond);
  const end = Math.min(count, Math.ceil((from + height) / rowHeight) + beyond);
  return { first, end: Math.max(first, end) };
}

/** Where to scroll so that row `at` is seen whole; null: it is. */
export function revealing(at: number, top: number, height: number, rowHeight: number): number | null {
  const begin = at * rowHeight;
  if (begin < top) {
    return begin;
  }
  return begin + rowHeight > top + height ? begin + rowHeight - height : null;
}

/** The row that a key leads to; null: the key is none of ours. */
export function moved(key: string, at: number, count: number, page: number): number | null {
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: count - 1 }[key];
  return to === undefined || !count ? null : Math.min(count - 1, Math.max(0, to));
}
