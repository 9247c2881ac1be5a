/** Filters of flows written in one line, as on the command line: `--pod client --not --verdict FORWARDED`. */
import type { Flow } from '../../observe/hubble/flow.ts';
import { usageError } from '../errors.ts';
import { parseCommandLine } from './args.ts';
import { FLOW_FILTER_OPTIONS, readFlowFilters } from './flow-filter.ts';

/** A filter that people type is shorter. */
const MAX_FILTER = 1000;

/** @throws CliError with what is expected */
export function parseFlowFilter(text: string): (flow: Flow) => boolean {
  if (text.length > MAX_FILTER) throw usageError(`the filter has ${text.length} characters`, `at most ${MAX_FILTER}`);
  const args = parseCommandLine('observe', { options: FLOW_FILTER_OPTIONS }, argumentsOf(text));
  const [word] = args.operands;
  if (word !== undefined) {
    throw usageError(`filter ${word}: expected options of \`dataplane observe\``, `such as --pod ${word}`);
  }
  const filters = readFlowFilters(args);
  return (flow) => filters.passes(flow);
}

/** Words between blanks; quotes hold words together. */
function argumentsOf(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, plain]) => double ?? single ?? plain ?? '',
  );
}
