/** Dark or light: as the system prefers, until the user chooses. The choice is kept in the browser. */
import { effect, signal } from '@preact/signals';
import { store, stored } from './storage.ts';

export type Theme = 'light' | 'dark';
const KEY = 'dataplane-theme';

const system = matchMedia('(prefers-color-scheme: dark)');

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
