/** The command-line options of the scripts. Unknown options are rejected before anything is changed. */
import { parseArgs } from 'node:util';

export interface BenchOptions {
  rounds: number;
  seconds: number;
  /** Names that a metric or contender must start with; empty means all. */
  only: string[];
  contenders: string[];
  output?: string;
}

/** Parses the command line. Prints `help` and exits with 0 for --help; reports invalid options and exits with 2. */
export function benchOptions(help: string, defaults: { rounds: number; seconds: number }): BenchOptions {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        only: { type: 'string' },
        contenders: { type: 'string' },
        output: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) {
      process.stdout.write(help);
      process.exit(0);
    }
    const list = (text?: string) => (text ?? '').split(',').filter(Boolean);
    return {
      rounds: positive('--rounds', values.rounds, defaults.rounds),
      seconds: positive('--seconds', values.seconds, defaults.seconds),
      only: list(values.only),
      contenders: list(values.contenders),
      output: values.output,
    };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${help}`);
    process.exit(2);
  }
}

function positive(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new Error(`${name} ${text}: expected a number above 0`);
}
