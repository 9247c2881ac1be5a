/** A bar chart as SVG: one group per figure, one bar per contender, with a whisker from the smallest to the largest sample. Each
 * group has its own scale, so only bars within a group can be compared. */

import { median, short } from '../../lib/statistics.ts';
import type { Results } from './results.ts';

const COLOURS = ['#9aa5b1', '#4c78a8', '#54a24b', '#b279a2', '#eeca3b', '#e45756', '#72b7b2', '#ff9da6', '#9d755d'];
const LABEL_WIDTH = 330;
const BAR_WIDTH = 520;
const BAR_HEIGHT = 14;
const GROUP_GAP = 16;
const WIDTH = LABEL_WIDTH + BAR_WIDTH + 120;

/** The whole chart. Figures that only explain others (cores, errors, offered load) appear in the table only. */
export function chart(results: Results): string {
  const contenders = results.contenders.filter(({ skipped }) => !skipped);
  const hidden = /\/(cores|forwarder|errors|failed|sent)$/;
  const rows = results.rows.filter(({ key }) => results.samples[key] && !hidden.test(key));
  const parts: string[] = [];
  let y = 62;
  contenders.forEach(({ title }, at) => {
    const x = 16 + (at % 7) * 138;
    parts.push(`<rect x="${x}" y="34" width="11" height="11" fill="${COLOURS[at % COLOURS.length]}"/>`);
    parts.push(text(x + 16, 44, title));
  });
  for (const row of rows) {
    const samples = results.samples[row.key]!;
    const present = contenders.map((contender, at) => ({ at, values: samples[contender.name] ?? [] }));
    const bars = present.filter(({ values }) => values.length > 0);
    const top = Math.max(...bars.flatMap(({ values }) => values)) || 1;
    const middle = y + (bars.length * BAR_HEIGHT) / 2 + 4;
    parts.push(text(LABEL_WIDTH - 8, middle, `${row.title}, ${row.unit}`, 'end'));
    for (const { at, values } of bars) {
      const scale = (value: number) => (value / top) * BAR_WIDTH;
      const value = median(values);
      const colour = COLOURS[at % COLOURS.length];
      const line = y + BAR_HEIGHT / 2;
      const [low, high] = [LABEL_WIDTH + scale(Math.min(...values)), LABEL_WIDTH + scale(Math.max(...values))];
      parts.push(
        `<rect x="${LABEL_WIDTH}" y="${y + 1}" width="${scale(value).toFixed(1)}" height="${BAR_HEIGHT - 2}" fill="${colour}"/>`,
        `<path d="M${low.toFixed(1)} ${line}H${high.toFixed(1)}" stroke="#333" stroke-width="1.5"/>`,
        text(Math.max(high, LABEL_WIDTH + scale(value)) + 6, y + BAR_HEIGHT - 3, short(value)),
      );
      y += BAR_HEIGHT;
    }
    y += GROUP_GAP;
  }
  const { machine } = results;
  const caption = `${machine.date.slice(0, 10)}, Linux ${machine.kernel}, ${machine.cores} × ${machine.cpu}, Node ${machine.versions.node}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + 24}" viewBox="0 0 ${WIDTH} ${y + 24}" font-family="sans-serif" font-size="11" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="20" font-size="15">${escapeXml(results.title)}</text>
${parts.join('\n')}
${text(16, y + 10, caption)}
</svg>
`;
}

function text(x: number, y: number, words: string, anchor = 'start'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escapeXml(words)}</text>`;
}

function escapeXml(words: string): string {
  return words.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}
