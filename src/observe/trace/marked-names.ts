/**
 * Names for steps that are described where no names are known: in a worker, which has no client of the API. Instead of
 * a name, the text gets a mark with what to look up; the reader of the steps inserts the names.
 */
import type { StepNames } from './names.ts';
import type { Row, Step } from './step.ts';

const BEGIN = '\u0002';
const END = '\u0003';

const mark = (...parts: readonly (string | number)[]): string => `${BEGIN}${parts.join(' ')}${END}`;

export const MARKED_NAMES: StepNames = {
  address: (ip) => mark('address', ip),
  service: (ip, protocol, port) => mark('service', ip, protocol, port),
};

/** The steps with names in place of marks. */
export function nameSteps(steps: readonly Step[], names: StepNames): Step[] {
  return steps.map((step) => (step.row === undefined ? step : { ...step, row: nameRow(step.row, names) }));
}

function nameRow({ text, ...fields }: Row, names: StepNames): Row {
  const named = Object.entries(fields).map(([field, value]) => [
    field,
    typeof value === 'string' ? resolve(value, names) : value,
  ]);
  return { ...Object.fromEntries(named), text: text.map((line) => resolve(line, names)) };
}

function resolve(text: string, names: StepNames): string {
  if (!text.includes(BEGIN)) return text;
  return text.replace(new RegExp(`${BEGIN}(\\w+) ([^${END}]*)${END}`, 'g'), (_, kind: string, rest: string) => {
    const [ip = '', protocol, port] = rest.split(' ');
    return kind === 'address' ? names.address(ip) : names.service(ip, Number(protocol), Number(port));
  });
}
