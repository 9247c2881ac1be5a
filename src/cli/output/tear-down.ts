/** The message of `dataplane down`. */
import { STATE_DIR } from '../../cluster/state.ts';
import type { TearDownReport } from '../../cluster/tear-down.ts';

/** `removed the controller, 2 agents, …`; undefined if there was nothing to remove. */
export function describeTearDown(report: TearDownReport): string | undefined {
  const count = (n: number, one: string, many = `${one}s`) => (n === 0 ? [] : [`${n} ${n === 1 ? one : many}`]);
  const parts = [
    ...(report.controller ? ['the controller'] : []),
    ...count(report.agents, 'agent'),
    ...count(report.pods, 'pod'),
    ...count(report.strays, 'other process', 'other processes'),
    ...count(report.namespaces, 'network namespace'),
    ...count(report.sharedMemory, 'shared table'),
    ...(report.stateDirectory ? [STATE_DIR] : []),
  ];
  return parts.length === 0 ? undefined : `removed ${parts.join(', ').replace(/, ([^,]*)$/, ' and $1')}`;
}
