/** The page's own keys. All of them have Shift and Ctrl or Alt, which programs in a terminal do not hear anyway. */

export type Action =
  | 'find'
  | 'tabs'
  | 'before'
  | 'next'
  | 'sessions'
  | 'new'
  | 'beside'
  | 'below'
  | 'unsplit'
  | 'left'
  | 'right'
  | 'up'
  | 'down'
  | 'mark'
  | 'copy-shown'
  | 'help';

interface Shortcut {
  readonly action: Action;
  readonly with: 'Ctrl' | 'Alt';
  readonly code: string;
  readonly does: string;
}

export const SHORTCUTS: readonly Shortcut[] = [
  { action: 'find', with: 'Ctrl', code: 'KeyF', does: 'Search the scrollback' },
  { action: 'tabs', with: 'Ctrl', code: 'KeyE', does: 'Leave the terminal for its tab, and from there to the buttons' },
  { action: 'before', with: 'Alt', code: 'ArrowLeft', does: 'The tab before' },
  { action: 'next', with: 'Alt', code: 'ArrowRight', does: 'The next tab' },
  { action: 'sessions', with: 'Alt', code: 'KeyO', does: 'Find a session among all' },
  { action: 'new', with: 'Alt', code: 'KeyN', does: 'New session' },
  { action: 'beside', with: 'Alt', code: 'KeyD', does: 'Split side by side' },
  { action: 'below', with: 'Alt', code: 'KeyS', does: 'Split one below the other' },
  { action: 'unsplit', with: 'Alt', code: 'KeyX', does: 'Take the pane out of the split' },
  { action: 'left', with: 'Ctrl', code: 'ArrowLeft', does: 'The pane to the left' },
  { action: 'right', with: 'Ctrl', code: 'ArrowRight', does: 'The pane to the right' },
  { action: 'up', with: 'Ctrl', code: 'ArrowUp', does: 'The pane above' },
  { action: 'down', with: 'Ctrl', code: 'ArrowDown', does: 'The pane below' },
  { action: 'mark', with: 'Alt', code: 'KeyM', does: 'To the place where you left, and back to the end' },
  { action: 'copy-shown', with: 'Alt', code: 'KeyC', does: 'Copy the selection with the line breaks as shown' },
  { action: 'help', with: 'Alt', code: 'KeyH', does: 'This list' }
];

/** Keys that are heard elsewhere: in the terminal, on a tab, at an edge. */
export const OTHERS: ReadonlyArray<readonly [keys: string, does: string]> = [
  ['Ctrl+C', 'Copy, while something is selected; else it interrupts'],
  ['Ctrl+Shift+C', 'Copy the selection; lines that the window has broken are one line'],
  ['Ctrl+Shift+V', 'Paste; more than one line is shown first'],
  ['on a tab: ← →', 'Change tabs'],
  ['on a tab: Ctrl+← →', 'Move the tab'],
  ['on a tab: Enter', 'Go into its terminal'],
  ['on a tab: Delete', 'Close it; the session goes on'],
  ['on an edge: arrows, Home, End', 'Move it. Edges are the first things that Tab comes to after the buttons']
];

interface Pressed {
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
  readonly metaKey: boolean;
  readonly code: string;
}

/** What a key is for; null: it is not the page's. */
export function actionOf({ ctrlKey, altKey, shiftKey, metaKey, code }: Pressed): Action | null {
  if (!shiftKey || metaKey || ctrlKey === altKey) {
    return null;
  }
  const held = ctrlKey ? 'Ctrl' : 'Alt';
  return SHORTCUTS.find(one => one.with === held && one.code === code)?.action ?? null;
}

const ARROWS: Readonly<Record<string, string>> = { ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓' };

/** As it stands on the keys. */
export const keysText = ({ with: held, code }: Pick<Shortcut, 'with' | 'code'>): string =>
  `${held}+Shift+${ARROWS[code] ?? code.replace(/^Key/, '')}`;
