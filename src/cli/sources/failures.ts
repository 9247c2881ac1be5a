/** Packets of a node that did not reach their destination, from its counters. */
import { attachCounters } from '../../../native-free-dataplane/shared/counters.ts';
import { openShared } from '../../linux/shm.ts';
import { type Failure, failuresOf } from '../../observe/failures.ts';
import { memoryName } from '../../shm-names.ts';

/** By verdict, since the agent was started; none if the node has no counters. */
export function readFailures(node: string): Failure[] {
  let memory: ReturnType<typeof openShared>;
  try {
    memory = openShared(memoryName(node, 'counters'));
  } catch {
    return []; // the node has been removed
  }
  try {
    const counters = attachCounters(memory.buffer);
    return counters === undefined ? [] : failuresOf(counters.blocks);
  } finally {
    memory.close();
  }
}
