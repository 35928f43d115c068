// Light or dark: what the person chose on any page of JupyterHub (same key as its own switch), else the system's.

export type Theme = 'light' | 'dark';

const KEY = 'jupyterhub-bs-theme';

/** What is chosen; null: follow the system. */
export function chosenTheme(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : null;
  } catch {
    return null; // storage is forbidden: the system decides
  }
}

export function currentTheme(): Theme {
  return chosenTheme() ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
}

/** Shows it; CSS looks at `data-bs-theme` of the root element. */
export function applyTheme(): Theme {
  const theme = currentTheme();
  document.documentElement.dataset['bsTheme'] = theme;
  return theme;
}

export function toggleTheme(): Theme {
  try {
    localStorage.setItem(KEY, currentTheme() === 'dark' ? 'light' : 'dark');
  } catch {
    // Not kept, and so not changed.
  }
  return applyTheme();
}

/** Calls when the theme changed: by another tab, or by the system. */
export function onThemeChange(listener: (theme: Theme) => void): () => void {
  const changed = () => listener(applyTheme());
  const media = matchMedia('(prefers-color-scheme: dark)');
  media.addEventListener('change', changed);
  addEventListener('storage', changed);
  return () => {
    media.removeEventListener('change', changed);
    removeEventListener('storage', changed);
  };
}
