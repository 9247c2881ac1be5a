/** `logs-generator`: a number of lines, evenly spread over a duration, each with its number. */
import { setTimeout as sleep } from 'node:timers/promises';
import { duration, integer, parseFlags } from '../flags.ts';
import { klogInfo } from '../log.ts';

const FLAGS = { 'log-lines-total': integer(0, 't'), 'run-duration': duration(0, 'd') };
const METHODS = ['GET', 'POST', 'PUT'];
const NAMESPACES = ['kube-system', 'default', 'ns'];

export async function run(args: readonly string[]): Promise<void> {
  const { 'log-lines-total': lines, 'run-duration': durationMs } = parseFlags(FLAGS, args).values;
  if (lines <= 0) return refuse(`Invalid total number of lines: ${lines}`);
  if (durationMs <= 0) return refuse(`Invalid duration: ${durationMs / 1000}s`);
  const startedMs = performance.now();
  for (let id = 0; id < lines; id++) {
    klogInfo('logs_generator.go:76', line(id));
    // Due times are counted from the start, so that delays do not add up.
    await sleep(Math.max(0, startedMs + ((id + 1) * durationMs) / lines - performance.now()));
  }
}

function refuse(message: string): void {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function line(id: number): string {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)]!;
  const pod = Array.from({ length: 3 + Math.floor(Math.random() * 2) }, () => pick([...'bcdfghjklmnpqrstvwxz2456789']));
  const status = 200 + Math.floor(Math.random() * 400);
  return `${id} ${pick(METHODS)} /api/v1/namespaces/${pick(NAMESPACES)}/pods/${pod.join('')} ${status}`;
}
