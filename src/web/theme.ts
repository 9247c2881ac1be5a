/** Dark or light: as the system prefers, until the user chooses. The choice is kept in the browser. */
import { effect, signal } from '@preact/signals';

export type Theme = 'light' | 'dark';
const KEY = 'dataplane-theme';

const system = matchMedia('(prefers-color-scheme: dark)');

function stored(key: string): string | undefined {
  try {
    return localStorage.getItem(key) ?? undefined;
  } catch {
    // Storage is not available, as for a file opened in some browsers.
    return undefined;
  }
}

export function store(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // The choice lasts until the page is closed.
  }
}

export { stored };

const chosen = stored(KEY);
export const theme = signal<Theme>(
  chosen === 'dark' || chosen === 'light' ? chosen : system.matches ? 'dark' : 'light',
);
system.addEventListener('change', ({ matches }) => {
  if (stored(KEY) === undefined) theme.value = matches ? 'dark' : 'light';
});

export function switchTheme(): void {
  theme.value = theme.value === 'dark' ? 'light' : 'dark';
  store(KEY, theme.value);
}

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
