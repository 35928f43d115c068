/** Colours of terminals, after JupyterLab's themes. */

import type { ITerminal } from '@jupyterlab/terminal';
import type { ITheme } from '@xterm/xterm';

const LIGHT: ITheme = {
  foreground: '#000',
  background: '#fff',
  cursor: '#616161',
  cursorAccent: '#f5f5f5',
  selectionBackground: 'rgba(97, 97, 97, 0.3)'
};
const DARK: ITheme = {
  foreground: '#fff',
  background: '#000',
  cursor: '#fff',
  cursorAccent: '#000',
  selectionBackground: 'rgba(255, 255, 255, 0.3)'
};

/** `inherit`: the colours of the page as they are now. */
export function themeOf(name: ITerminal.Theme): ITheme {
  if (name !== 'inherit') {
    return name === 'light' ? LIGHT : DARK;
  }
  const style = getComputedStyle(document.body);
  const fallback = document.body.dataset['jpThemeLight'] === 'false' ? DARK : LIGHT;
  const colour = (property: string): string | undefined => style.getPropertyValue(property).trim() || undefined;
  return {
    foreground: colour('--jp-ui-font-color0') ?? fallback.foreground ?? '#000',
    background: colour('--jp-layout-color0') ?? fallback.background ?? '#fff',
    cursor: colour('--jp-ui-font-color1') ?? fallback.cursor ?? '#000',
    cursorAccent: colour('--jp-ui-inverse-font-color0') ?? fallback.cursorAccent ?? '#fff',
    selectionBackground: colour('--jp-layout-color3') ?? fallback.selectionBackground ?? '#888'
  };
}
