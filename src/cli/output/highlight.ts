/** Colours for table cells that show a problem: red for failures, yellow for what needs attention. */

export type Colour = 'red' | 'yellow' | 'green';

const CODES: Readonly<Record<Colour, number>> = { red: 31, green: 32, yellow: 33 };

/** Transient states. */
const WAITING =
  /^(Pending|ContainerCreating|PodInitializing|Terminating|Init:\d+\/\d+|SchedulingGated|starting|Unknown)$/;
const FINE = /^(Running|Completed|Succeeded|Ready|Active|Bound|running|sleeping)$/;

/** The colour of a cell, by the column's header and the text; undefined for normal text. */
export function colourOf(header: string, cell: string): Colour | undefined {
  switch (header) {
    case 'STATUS':
      if (FINE.test(cell)) return undefined;
      if (WAITING.test(cell) || cell.endsWith(',SchedulingDisabled')) return 'yellow';
      return 'red';
    case 'STATE':
      return FINE.test(cell) ? undefined : WAITING.test(cell) ? 'yellow' : 'red';
    case 'READY': {
      const counts = /^(\d+)\/(\d+)$/.exec(cell);
      return counts !== null && Number(counts[1]) < Number(counts[2]) ? 'yellow' : undefined;
    }
    case 'AGENT':
      return cell === 'not running' ? 'red' : undefined;
    case 'DROPS':
      return cell === '0' ? undefined : 'yellow';
    case 'EXTERNAL-IP':
      return cell === '<pending>' ? 'yellow' : undefined;
    case 'TYPE':
    case 'Type':
      return cell === 'Warning' ? 'yellow' : undefined;
    default:
      return undefined;
  }
}

export function paint(colour: Colour | undefined, text: string): string {
  return colour === undefined ? text : `\x1b[${CODES[colour]}m${text}\x1b[0m`;
}
