/** The canvas's colours, from the style sheet's variables: they follow the theme. */
const NAMES = ['bg', 'panel', 'panel-2', 'line', 'text', 'muted', 'accent', 'good', 'bad', 'warn', 'service'] as const;

export type Colours = Readonly<Record<(typeof NAMES)[number], string>>;

export function readColours(): Colours {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Colours;
}
