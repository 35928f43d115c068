/** Marks that a shell sets at its prompts (OSC 133), and what was typed between them. */

import type { IBuffer, IDisposable, IMarker, Terminal } from '@xterm/xterm';

/** Characters of a command that are told. */
const MOST = 80;

export class Prompts implements IDisposable {
  private begin: { readonly marker: IMarker; readonly x: number } | null = null;
  private readonly handler: IDisposable;

  /** `told`: a mark was parsed, as it stands; with the command's text when one begins. */
  constructor(
    private readonly term: Terminal,
    told: (data: string, what: string | null) => void
  ) {
    this.handler = term.parser.registerOscHandler(133, data => {
      const kind = data.charAt(0);
      if (kind === 'B') {
        this.begin?.marker.dispose();
        this.begin = { marker: term.registerMarker(0), x: term.buffer.active.cursorX };
      }
      told(data, kind === 'C' ? this.command() : null);
      return true;
    });
  }

  dispose(): void {
    this.handler.dispose();
  }

  private command(): string | null {
    const buffer = this.term.buffer.active;
    if (this.begin === null || this.begin.marker.isDisposed || buffer.type !== 'normal') {
      return null;
    }
    return commandText(buffer, this.begin.marker.line, this.begin.x, buffer.baseY + buffer.cursorY);
  }
}

/** What stands from a place up to, not including, a line: its first line, shortened. */
export function commandText(buffer: Pick<IBuffer, 'getLine'>, from: number, x: number, to: number): string | null {
  let text = '';
  for (let y = from; y < Math.max(to, from + 1); y += 1) {
    const line = buffer.getLine(y);
    if (!line || (y > from && !line.isWrapped)) {
      break;
    }
    text += line.translateToString(true, y === from ? x : 0);
  }
  const [first = ''] = text.trim().split('\n');
  return first === '' ? null : first.length > MOST ? `${first.slice(0, MOST - 1)}…` : first;
}
