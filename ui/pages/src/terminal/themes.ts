/** Colours of terminals. Each of the sixteen reads well on its ground. */

import type { ITheme } from '@xterm/xterm';

export const DARK: ITheme = {
  background: '#16181d', foreground: '#e6e8ec', cursor: '#e6e8ec', cursorAccent: '#16181d',
  selectionBackground: '#3d5a8a', overviewRulerBorder: '#16181d', black: '#2a2e36', red: '#ff7b72', green: '#6cc26f', yellow: '#e3b341',
  blue: '#79b8ff', magenta: '#d2a8ff', cyan: '#56d4dd', white: '#c9ced6', brightBlack: '#8b929e',
  brightRed: '#ffa198', brightGreen: '#8ddb8c', brightYellow: '#f2cc60', brightBlue: '#a5d6ff',
  brightMagenta: '#e2c5ff', brightCyan: '#b3f0ff', brightWhite: '#ffffff'
};

export const LIGHT: ITheme = {
  background: '#ffffff', foreground: '#1d2129', cursor: '#1d2129', cursorAccent: '#ffffff',
  selectionBackground: '#b6d4fe', overviewRulerBorder: '#ffffff', black: '#1d2129', red: '#b3261e', green: '#1a6b2f', yellow: '#7a5200',
  blue: '#1a56c4', magenta: '#8b2fa8', cyan: '#0b6b75', white: '#545c69', brightBlack: '#6b7280',
  brightRed: '#cf222e', brightGreen: '#116329', brightYellow: '#8a5a00', brightBlue: '#0550ae',
  brightMagenta: '#8250df', brightCyan: '#1b7c83', brightWhite: '#3a404b'
};
