/** How long a command waits until what it applied is Ready, and for what: options of `up` and `apply`. */
import type { JobReadiness } from '../../cluster/readiness.ts';
import { usageError } from '../errors.ts';
import type { Args, Options } from './args.ts';
import { seconds } from './values.ts';

export const WAIT_FOR_JOBS: Options = {
  'wait-for-jobs': { help: 'wait until Jobs are complete, not only until their pods run' },
};

/** The seconds of --wait or --timeout; undefined if neither has any. @throws CliError if both do, and differ */
export function waitSeconds(args: Args): number | undefined {
  const wait = args.optionalValue('wait', seconds);
  const timeout = args.value('timeout', seconds);
  if (wait !== undefined && timeout !== undefined && wait !== timeout) {
    throw usageError(
      `--wait=${args.text('wait')} and --timeout ${args.text('timeout')} contradict each other`,
      'give one',
    );
  }
  return wait ?? timeout;
}

export const jobReadiness = (args: Args): JobReadiness => (args.flag('wait-for-jobs') ? 'complete' : 'running');
