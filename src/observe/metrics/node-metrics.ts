/**
 * Metrics of a node's packets, read from its shared tables at each scrape: own names (`dataplane_…`), and Cilium's where
 * they mean the same. Labels are bounded by the program, never by the cluster: no pod, Service or address is one.
 */
import type { Registry } from 'prom-client';
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { entryCount } from '../../../native-free-dataplane/conntrack/shares.ts';
import { activeImage, activeImageBytes, type PolicyTable } from '../../../native-free-dataplane/policies/table.ts';
import {
  type Counters,
  type PortTotals,
  verdictTotal,
  workerTotals,
} from '../../../native-free-dataplane/shared/counters.ts';
import { VERDICTS, Verdict } from '../../../native-free-dataplane/verdicts.ts';
import { type Failure, failuresOf, outcomeOf } from '../failures.ts';
import { ciliumReason } from '../hubble/drop-reasons.ts';
import { addCounter, addGauge, type Sample, type Series, single } from './series.ts';

export interface NodeMetricsSource {
  readonly tables: { readonly conntrack: Conntrack; readonly counters: Counters; readonly policies: PolicyTable };
  /** Is every worker forwarding? */
  readonly forwarding: () => boolean;
  /** State and restarts of each worker, by its number. */
  readonly workers: () => readonly { readonly state: string; readonly restarts: number }[];
  readonly overlay: () => { readonly mode: string; readonly tunnelOffload: boolean; readonly mtu: number };
}

/** Values of the label `direction` of Cilium's metrics. */
const INGRESS = 'INGRESS';
const EGRESS = 'EGRESS';
const UNKNOWN = 'UNKNOWN';

export function addNodeMetrics(registry: Registry, { tables, forwarding, workers, overlay }: NodeMetricsSource): void {
  const { conntrack, counters, policies } = tables;
  const counter = (series: Series): void => addCounter(registry, series);
  const gauge = (series: Series): void => addGauge(registry, series);
  const perWorker = (value: (totals: PortTotals) => number) => (): Sample[] =>
    counters.blocks.map((_, worker) => [{ worker: String(worker) }, value(workerTotals(counters, worker))]);
  const traffic: readonly [name: string, help: string, value: (totals: PortTotals) => number][] = [
    ['received_frames', 'Frames received from devices and the overlay, by worker.', ({ framesIn }) => framesIn],
    ['received_bytes', 'Bytes received, Ethernet headers included, by worker.', ({ bytesIn }) => bytesIn],
    ['sent_frames', 'Frames sent to devices, by worker.', ({ framesOut }) => framesOut],
    ['sent_bytes', 'Bytes sent, Ethernet headers included, by worker.', ({ bytesOut }) => bytesOut],
  ];
  for (const [name, help, value] of traffic) {
    counter({ name: `dataplane_${name}_total`, help, labels: ['worker'], read: perWorker(value) });
  }
  counter({
    name: 'dataplane_packets_total',
    help: 'Packets by their verdict (docs/drops.md). A merged packet of several segments counts once.',
    labels: ['verdict'],
    read: () => VERDICTS.flatMap((row, verdict) => countOf(counters, verdict, { verdict: row?.name ?? '' })),
  });
  counter({
    name: 'dataplane_drops_total',
    help: 'Packets that did not reach their destination: dropped, refused with a reset or an ICMP error, or lost at a device.',
    labels: ['reason', 'outcome'],
    read: () =>
      failuresOf(counters.blocks).map(({ row, count }) => [{ reason: row.name, outcome: outcomeOf(row.class) }, count]),
  });
  counter({
    name: 'cilium_drop_count_total',
    help: "Packets that did not reach their destination, by Cilium's reason, or by our own where it has none.",
    labels: ['reason', 'direction'],
    read: () => ciliumDrops(failuresOf(counters.blocks)),
  });
  counter({
    name: 'cilium_forward_count_total',
    help: 'Forwarded packets: INGRESS to pods of this node, EGRESS to other nodes and to the kernel of this one.',
    labels: ['direction'],
    read: () => forwardedPackets(counters),
  });
  gauge({
    name: 'dataplane_forwarding',
    help: '1 while all workers of the node forward packets.',
    read: () => single(forwarding() ? 1 : 0),
  });
  gauge({
    name: 'dataplane_worker_state',
    help: '1 for the state that a worker is in: running, sleeping (idle), starting, crashed, stopped or absent.',
    labels: ['worker', 'state'],
    read: () => workers().map(({ state }, worker) => [{ worker: String(worker), state }, 1]),
  });
  counter({
    name: 'dataplane_worker_restarts_total',
    help: 'Restarts of a worker after a crash.',
    labels: ['worker'],
    read: () => workers().map(({ restarts }, worker) => [{ worker: String(worker) }, restarts]),
  });
  gauge({
    name: 'dataplane_conntrack_entries',
    help: 'Tracked connections.',
    read: () => single(entryCount(conntrack)),
  });
  gauge({
    name: 'dataplane_conntrack_max_entries',
    help: 'Size of the connection table.',
    read: () => single(conntrack.max),
  });
  gauge({
    name: 'dataplane_policy_image_generation',
    help: 'Sequence number of the compiled NetworkPolicies in force; 0 without policies.',
    read: () => single(activeImage(policies)),
  });
  gauge({
    name: 'dataplane_policy_image_bytes',
    help: 'Size of the compiled NetworkPolicies in force.',
    read: () => single(activeImageBytes(policies)),
  });
  gauge({
    name: 'dataplane_overlay_info',
    help: '1, with the overlay of the node in the labels.',
    labels: ['mode', 'tunnel_offload'],
    read: () => {
      const { mode, tunnelOffload } = overlay();
      return [[{ mode, tunnel_offload: String(tunnelOffload) }, 1]];
    },
  });
  gauge({ name: 'dataplane_pod_mtu_bytes', help: "MTU of the pods' devices.", read: () => single(overlay().mtu) });
}

function countOf(counters: Counters, verdict: number, labels: Readonly<Record<string, string>>): Sample[] {
  const count = verdictTotal(counters, verdict);
  return count > 0 ? [[labels, count]] : [];
}

/** Several verdicts have the same reason: their counts are added. */
function ciliumDrops(failures: readonly Failure[]): Sample[] {
  const counts = new Map<string, Sample>();
  for (const { row, count } of failures) {
    const reason = ciliumReason(row.name)?.text ?? row.name;
    const direction = DIRECTIONS[row.name] ?? UNKNOWN;
    const key = `${reason}|${direction}`;
    counts.set(key, [{ reason, direction }, count + (counts.get(key)?.[1] ?? 0)]);
  }
  return [...counts.values()];
}

/** The verdicts that imply a direction, as seen from the pod. */
const DIRECTIONS: Readonly<Record<string, string>> = { 'policy-ingress': INGRESS, 'policy-egress': EGRESS };

function forwardedPackets(counters: Counters): Sample[] {
  let egress = 0;
  VERDICTS.forEach((row, verdict) => {
    const leaves = row?.class === 'delivered' || (row?.class === 'forwarded' && verdict !== Verdict.SENT);
    if (leaves) egress += verdictTotal(counters, verdict);
  });
  return [
    [{ direction: INGRESS }, verdictTotal(counters, Verdict.SENT)],
    [{ direction: EGRESS }, egress],
  ];
}
