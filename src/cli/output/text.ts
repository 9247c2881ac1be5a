/** The layout of `describe`, as in kubectl: names, values, and blocks indented by two spaces each. */

/** A line `Name:  value` with aligned values; the lines of a block are below its name. */
export type Line = readonly [name: string, value: string | readonly string[] | Block];

export interface Block {
  lines: readonly Line[];
}

export const block = (...lines: (Line | undefined)[]): Block => ({
  lines: lines.filter((line): line is Line => line !== undefined),
});

/** The text of a block; names get a colon, and the values of a block are aligned. */
export function printBlock({ lines }: Block, indent = 0): string {
  const flat = lines.filter(([, value]) => typeof value === 'string' || Array.isArray(value));
  const width = Math.max(0, ...flat.map(([name]) => name.length + 3));
  const before = ' '.repeat(indent);
  let text = '';
  for (const [name, value] of lines) {
    if (typeof value === 'string') {
      text += `${before}${`${name}:`.padEnd(width)}${value}`.trimEnd();
      text += '\n';
    } else if (isTexts(value)) {
      const [first = '<none>', ...more] = value;
      text += `${before}${`${name}:`.padEnd(width)}${first}\n`;
      for (const line of more) text += `${before}${' '.repeat(width)}${line}\n`;
    } else {
      text += `${before}${name}:\n${printBlock(value, indent + 2)}`;
    }
  }
  return text;
}

const isTexts = (value: readonly string[] | Block): value is readonly string[] => Array.isArray(value);
