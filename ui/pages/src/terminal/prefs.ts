/** What a person set on this device. */

export type Theme = 'auto' | 'light' | 'dark';
export interface Prefs {
  readonly fontSize: number;
  readonly theme: Theme;
  readonly keys: boolean;
  /** Seconds from which on the end of a command is told; 0: never. */
  readonly long: number;
}

const KEY = 'persistent-terminals';
export const LONG = [0, 10, 30, 60, 300, 1800] as const;
export const SIZES = { least: 8, most: 32 } as const;

const coarse = (): boolean => matchMedia('(pointer: coarse)').matches;

export function readPrefs(): Prefs {
  let raw: Readonly<Record<string, unknown>> = {};
  try {
    raw = (JSON.parse(localStorage.getItem(KEY) ?? '{}') ?? {}) as Readonly<Record<string, unknown>>;
  } catch {
    // not allowed to remember: then each page begins anew
  }
  const { fontSize, theme, keys, long } = raw;
  return {
    fontSize: typeof fontSize === 'number' && fontSize >= SIZES.least && fontSize <= SIZES.most ? fontSize : 14,
    theme: theme === 'light' || theme === 'dark' ? theme : 'auto',
    keys: typeof keys === 'boolean' ? keys : coarse(),
    long: typeof long === 'number' && long >= 0 ? long : 10
  };
}

export function keepPrefs(prefs: Prefs): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(prefs));
  } catch {
    // the same
  }
}

export function isDark(theme: Theme): boolean {
  return theme === 'auto' ? matchMedia('(prefers-color-scheme: dark)').matches : theme === 'dark';
}
