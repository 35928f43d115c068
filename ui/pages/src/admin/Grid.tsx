// A table of any length: only the rows on the screen are in the page. Reachable by keyboard as one stop.

import { memo, useLayoutEffect, useMemo, useRef, useState, useSyncExternalStore, type KeyboardEvent, type ReactNode } from 'react';
import { flushSync } from 'react-dom';
import { clicked, moved, revealing, windowOf, type Key, type Order } from './table';

export interface Column<T> {
  readonly id: string;
  readonly title: string;
  /** Of the table's width, as CSS grid takes it. */
  readonly width: string;
  readonly sort?: (row: T) => Key;
  readonly cell: (row: T) => ReactNode;
  /** Left out on small screens. */
  readonly extra?: boolean;
}

interface Props<T> {
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly keyOf: (row: T) => string;
  readonly order: Order;
  readonly onOrder: (order: Order) => void;
  /** Enter, or a click on the row. */
  readonly onOpen?: ((row: T) => void) | undefined;
  readonly empty: ReactNode;
  readonly loading: boolean;
}

const NARROW = '(max-width: 760px)';

/** Whether the screen is too small for all columns. */
export function useNarrow(): boolean {
  return useSyncExternalStore(
    told => {
      const media = matchMedia(NARROW);
      media.addEventListener('change', told);
      return () => media.removeEventListener('change', told);
    },
    () => matchMedia(NARROW).matches
  );
}

/** A row on the screen; drawn anew only when it changes. */
const Line = memo(function Line(props: {
  row: unknown;
  at: number;
  top: number;
  columns: readonly Column<unknown>[];
  widths: string;
  current: boolean;
  name: string;
  onActive: (name: string) => void;
  onOpen: ((row: unknown) => void) | undefined;
}): ReactNode {
  const { row, at, top, columns, widths, current, name, onActive, onOpen } = props;
  return (
    <div
      role="row"
      className={onOpen ? 'row opens' : 'row'}
      aria-rowindex={at + 2}
      tabIndex={current ? 0 : -1}
      style={{ gridTemplateColumns: widths, transform: `translateY(${top}px)` }}
      onFocus={() => onActive(name)}
      onClick={() => onOpen?.(row)}
    >
      {columns.map(column => (
        <div role="gridcell" key={column.id}>
          {column.cell(row)}
        </div>
      ))}
    </div>
  );
});

export function Grid<T>(props: Props<T>): ReactNode {
  const { label, rows, keyOf, order, onOrder, onOpen, empty, loading } = props;
  const narrow = useNarrow();
  const columns = useMemo(
    () => (narrow ? props.columns.filter(column => !column.extra) : props.columns),
    [narrow, props.columns]
  );
  const rowHeight = 44;
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [active, setActive] = useState<string | null>(null);
  const focusing = useRef(false);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) {
      return;
    }
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const { first, end } = windowOf(top, height - rowHeight, rowHeight, rows.length);
  // The row that Tab leads to: the one that was used last, if it is still there; else one that is on the screen, the
  // same for as long as it is.
  const found = useMemo(() => (active === null ? -1 : rows.findIndex(row => keyOf(row) === active)), [active, rows, keyOf]);
  const tabbed = useRef(0);
  if (found >= first && found < end) {
    tabbed.current = found;
  } else if (tabbed.current < top / rowHeight || tabbed.current >= Math.min(end, (top + height) / rowHeight - 1)) {
    tabbed.current = Math.max(0, Math.min(Math.ceil(top / rowHeight), rows.length - 1));
  }
  const current = tabbed.current;

  useLayoutEffect(() => {
    if (focusing.current) {
      focusing.current = false;
      box.current?.querySelector<HTMLElement>('[role=row][tabindex="0"]')?.focus({ preventScroll: true });
    }
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const element = box.current;
    const on = (event.target as HTMLElement).closest('[role=row][tabindex]');
    if (!element || !on || event.target !== on) {
      return;
    }
    const row = rows[current];
    if ((event.key === 'Enter' || event.key === ' ') && onOpen && row) {
      event.preventDefault();
      onOpen(row);
      return;
    }
    const to = moved(event.key, current, rows.length, Math.max(1, Math.floor(height / rowHeight) - 2));
    const next = to === null ? undefined : rows[to];
    if (to === null || !next) {
      return;
    }
    event.preventDefault();
    const scroll = revealing(to, element.scrollTop, element.clientHeight - rowHeight, rowHeight);
    if (scroll !== null) {
      element.scrollTop = scroll;
      setTop(scroll);
    }
    focusing.current = true;
    setActive(keyOf(next));
  };

  const widths = columns.map(column => column.width).join(' ');
  const template = { gridTemplateColumns: widths };
  return (
    <div
      className="grid"
      role="grid"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-busy={loading}
      ref={box}
      onScroll={event => {
        const now = event.currentTarget.scrollTop;
        // In this frame: a frame later there would be nothing where the new rows belong.
        flushSync(() => setTop(now));
      }}
      onKeyDown={onKeyDown}
    >
      <div className="row head" role="row" aria-rowindex={1} style={template}>
        {columns.map(column => (
          <div
            key={column.id}
            role="columnheader"
            aria-sort={order.by !== column.id ? undefined : order.down ? 'descending' : 'ascending'}
          >
            {column.sort ? (
              <button type="button" className="sorter" onClick={() => onOrder(clicked(order, column.id))}>
                {column.title}
                <span aria-hidden="true">{order.by !== column.id ? '' : order.down ? ' ▾' : ' ▴'}</span>
              </button>
            ) : (
              <span className="sorter">{column.title}</span>
            )}
          </div>
        ))}
      </div>
      {loading ? (
        <div role="rowgroup">
          {Array.from({ length: 8 }, (_, n) => (
            <div className="row" role="row" key={n} style={template}>
              {columns.map((column, at) => (
                <div role="gridcell" key={column.id}>
                  <span className="skeleton" style={{ width: `${40 + ((n * 17 + at * 29) % 45)}%` }} />
                  {n + at === 0 && <span className="hidden-text">Loading</span>}
                </div>
              ))}
            </div>
          ))}
        </div>
      ) : rows.length === 0 ? (
        <div role="row" className="nothing">
          <div role="gridcell">{empty}</div>
        </div>
      ) : (
        <div role="rowgroup" className="rows" style={{ height: rows.length * rowHeight }}>
          {rows.slice(first, end).map((row, n) => {
            const at = first + n;
            const key = keyOf(row);
            return (
              <Line
                key={key}
                row={row}
                at={at}
                top={at * rowHeight}
                columns={columns as readonly Column<unknown>[]}
                widths={widths}
                current={at === current}
                name={key}
                onActive={setActive}
                onOpen={onOpen as ((row: unknown) => void) | undefined}
              />
            );
          })}
        </div>
      )}
    </div>
  );
}
