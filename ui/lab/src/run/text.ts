/** What of a cell or a file is sent to a terminal. Pure. */

/** A first line that says which program is meant; a terminal has its own. */
const MAGIC = /^%%(?:bash|sh|zsh|terminal|script)\b.*\n?/;

/**
 * The text as a program in a terminal is to get it: without what only a notebook understands (`%%bash`, `!` before
 * every line), without empty lines around it, and without what a terminal would act on.
 */
export function textOf(source: string): string {
  const lines = source.replace(/\r\n?/g, '\n').replace(MAGIC, '').split('\n');
  const full = lines.filter(line => line.trim() !== '');
  const bang = full.length > 0 && full.every(line => /^\s*!/.test(line));
  const text = (bang ? lines.map(line => line.replace(/^\s*!\s?/, '')) : lines).join('\n');
  // eslint-disable-next-line no-control-regex -- what a terminal would act on, but for tabs and ends of lines
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '').replace(/^(?:[ \t]*\n)+|\s+$/g, '');
}

/** The part of an editor of JupyterLab that is looked at. */
export interface EditorLike {
  readonly model: { readonly sharedModel: { getSource(): string } };
  getSelection(): { readonly start: PositionLike; readonly end: PositionLike };
  getOffsetAt(position: PositionLike): number;
  getLine(line: number): string | undefined;
}
export interface PositionLike {
  readonly line: number;
  readonly column: number;
}

/** What is selected; empty: nothing. */
export function selected(editor: EditorLike): string {
  const { start, end } = editor.getSelection();
  const [from, to] = [editor.getOffsetAt(start), editor.getOffsetAt(end)].sort((a, b) => a - b);
  return editor.model.sharedModel.getSource().slice(from, to);
}

interface CellLike {
  readonly model: { readonly type?: string; readonly sharedModel: { getSource(): string } };
  readonly editor: EditorLike | null;
}
/** The part of a notebook or of an editor of files that is looked at. */
export interface ContentLike {
  readonly activeCell?: CellLike | null;
  readonly widgets?: readonly CellLike[];
  isSelectedOrActive?(cell: CellLike): boolean;
  readonly editor?: EditorLike | null;
}

/** What is selected, else the cells that are, else the line of the file that the cursor is in. Null: it has none. */
export function sourceOf(content: ContentLike | null | undefined): string | null {
  if (content?.activeCell) {
    const { activeCell } = content;
    const cells = content.widgets?.filter(cell => content.isSelectedOrActive?.(cell)) ?? [activeCell];
    // Whatever the notebook's mode: a menu that is opened ends the editing.
    const part = cells.length < 2 && activeCell.editor ? selected(activeCell.editor) : '';
    if (part !== '') {
      return part;
    }
    return cells
      .filter(({ model }) => model.type === undefined || model.type === 'code')
      .map(({ model }) => textOf(model.sharedModel.getSource()))
      .filter(text => text !== '')
      .join('\n');
  }
  const editor = content?.editor;
  if (editor && typeof editor.getSelection === 'function') {
    return selected(editor) || (editor.getLine(editor.getSelection().start.line) ?? '');
  }
  return null;
}
