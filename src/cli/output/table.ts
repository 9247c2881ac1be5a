/**
 * Tables. In a pipe the layout is that of kubectl, for scripts. On a terminal they fit its width: columns without any
 * value are omitted, long cells are wrapped, and problems are coloured.
 */
import { type Colour, colourOf, paint } from './highlight.ts';

export interface Terminal {
  columns: number;
  colour: boolean;
}

export interface TableOptions {
  /** Whether the first row is a header. */
  headers?: boolean;
  /** Text between columns; default three spaces. */
  separator?: string;
  terminal?: Terminal | undefined;
}

type Row = readonly string[];

const NO_VALUE = '<none>';
const SEPARATOR = '   ';
const NARROW_SEPARATOR = '  ';
/** Minimum width of a column; the longest word of its header is another. */
const MIN_CELL = 8;

/** The terminal of standard output; undefined for a pipe or a file. Colours follow https://no-color.org. */
export function terminalOf(stream: NodeJS.WriteStream = process.stdout): Terminal | undefined {
  if (!stream.isTTY) return undefined;
  const colour = !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  return { columns: stream.columns || 80, colour };
}

/** The layout of kubectl's table printer: three spaces between columns, no trailing spaces. */
export function layOut(rows: readonly Row[], separator: string = SEPARATOR): string {
  const widths = widthsOf(rows);
  return rows
    .map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!))).join(separator))
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

/** A table for standard output: plain in a pipe, fitted to the width of a terminal. */
export function tableText(rows: readonly Row[], options: TableOptions = {}): string {
  const { headers = true, separator: between = SEPARATOR } = options;
  const terminal = 'terminal' in options ? options.terminal : terminalOf();
  if (terminal === undefined) return layOut(rows, between);
  const shown = headers ? withoutEmptyColumns(rows) : rows;
  const natural = widthsOf(shown);
  const wide = total(natural, between) > terminal.columns;
  const separator = wide ? NARROW_SEPARATOR : between;
  const widths = wide ? shrink(natural, headers ? shown[0]! : [], terminal.columns) : natural;
  return shown
    .map((row, i) => {
      const colours = row.map((cell, at) =>
        headers && i > 0 && terminal.colour ? colourOf(shown[0]![at] ?? '', cell) : undefined,
      );
      return printRow(row, widths, separator, colours);
    })
    .join('');
}

function widthsOf(rows: readonly Row[]): number[] {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return widths;
}

const total = (widths: readonly number[], separator: string): number =>
  widths.reduce((sum, width) => sum + width, 0) + separator.length * (widths.length - 1);

function withoutEmptyColumns(rows: readonly Row[]): Row[] {
  const [header = [], ...body] = rows;
  if (body.length === 0) return [...rows];
  const kept = header.map((_, i) => i === 0 || body.some((row) => row[i] !== NO_VALUE));
  return rows.map((row) => row.filter((_, i) => kept[i]));
}

/** Narrows the widest column repeatedly until the table fits or every column has its minimum width. */
function shrink(natural: readonly number[], header: Row, columns: number): number[] {
  const widths = [...natural];
  const longestPart = (text: string) => Math.max(...text.split(/ |(?<=-)/).map((part) => part.length));
  const least = widths.map((width, i) => Math.min(width, Math.max(MIN_CELL, longestPart(header[i] ?? ''))));
  for (let excess = total(widths, NARROW_SEPARATOR) - columns; excess > 0; excess--) {
    let widest = -1;
    for (const [i, width] of widths.entries()) {
      if (width > least[i]! && (widest < 0 || width > widths[widest]!)) widest = i;
    }
    if (widest < 0) break;
    widths[widest]!--;
  }
  return widths;
}

function printRow(
  row: Row,
  widths: readonly number[],
  separator: string,
  colours: readonly (Colour | undefined)[],
): string {
  const cells = row.map((cell, i) => wrap(cell, widths[i]!));
  const height = Math.max(...cells.map((lines) => lines.length));
  let text = '';
  for (let line = 0; line < height; line++) {
    const last = cells.findLastIndex((lines) => lines[line] !== undefined && lines[line] !== '');
    const parts = cells.slice(0, last + 1).map((lines, i) => {
      const part = lines[line] ?? '';
      const blanks = i === last ? '' : ' '.repeat(widths[i]! - part.length);
      return `${part === '' ? part : paint(colours[i], part)}${blanks}`;
    });
    text += `${parts.join(separator)}\n`;
  }
  return text;
}

/** Breaks text into lines of at most `width` characters, if possible after a space or one of `,/:=-`. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const head = rest.slice(0, width + 1);
    const blank = head.lastIndexOf(' ');
    const mark = Math.max(...[...',/:=-'].map((character) => head.slice(0, width).lastIndexOf(character) + 1));
    const at = blank > 0 ? blank : mark > 0 ? mark : width;
    lines.push(rest.slice(0, at).trimEnd());
    rest = rest.slice(at).trimStart();
  }
  return [...lines, rest];
}
