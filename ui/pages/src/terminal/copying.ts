/** What a selection is as text, and how it gets into the clipboard. */

import type { Terminal } from '@xterm/xterm';

/** `joined`: a line that only the window's edge has broken is one; `shown`: each row is a line. */
export type How = 'joined' | 'shown';

type Source = Pick<Terminal, 'getSelection' | 'getSelectionPosition'> & {
  readonly buffer: { readonly active: Pick<Terminal['buffer']['active'], 'getLine'> };
};

/** Blanks at the end of a line are the window's, not the text's; a part of one line is as it was selected. */
const trimmed = (rows: readonly string[]): string =>
  rows.length === 1 ? (rows[0] ?? '') : rows.map(row => row.replace(/[ \t]+$/, '')).join('\n');

export function selectedText(term: Source, how: How): string {
  const told = term.getSelection().replace(/\r\n/g, '\n');
  const at = term.getSelectionPosition();
  if (how === 'joined' || !at) {
    return trimmed(told.split('\n'));
  }
  const rows: string[] = [];
  const lines: string[] = [];
  for (let y = at.start.y; y <= at.end.y; y += 1) {
    const line = term.buffer.active.getLine(y);
    const [from, to] = [y === at.start.y ? at.start.x : 0, y === at.end.y ? at.end.x : undefined];
    const row = (line?.translateToString(true, from, to) ?? '').replace(/\u00a0/g, ' ');
    rows.push(row);
    if (line?.isWrapped && lines.length > 0) {
      lines.push(`${lines.pop() ?? ''}${row}`);
    } else {
      lines.push(row);
    }
  }
  // Otherwise a block was selected: its rows are lines already.
  return trimmed(lines.join('\n') === told ? rows : told.split('\n'));
}

/** Whether it is in the clipboard. Without a secure context the browser has only its older way. */
export async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const give = (event: ClipboardEvent): void => {
      event.preventDefault();
      event.stopImmediatePropagation();
      event.clipboardData?.setData('text/plain', text);
    };
    document.addEventListener('copy', give, { capture: true, once: true });
    const done = document.execCommand('copy');
    document.removeEventListener('copy', give, { capture: true });
    return done;
  }
}
