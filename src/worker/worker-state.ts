/** The state of a worker outside the tables that affects what it does with packets: for a recording that can be replayed. */
import type { Dataplane } from '../../native-free-dataplane/dataplane.ts';
import type { WorkerState } from '../observe/capture/packet.ts';

export function workerState({ random, nextIpId, replyTokens, replyFilledMs }: Dataplane): WorkerState {
  const tokens: [number, number, number][] = [];
  replyFilledMs.forEach((filledMs, hop) => {
    if (filledMs !== 0) tokens.push([hop, replyTokens[hop] as number, filledMs]);
  });
  return { random, nextIpId, tokens };
}
