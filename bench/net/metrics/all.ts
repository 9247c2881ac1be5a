/** All metrics, in the order in which they run and are printed. */
import { bulk } from './bulk.ts';
import { connectionRate } from './connections.ts';
import { smallDatagrams } from './datagrams.ts';
import { forwardingRate } from './forwarding-rate.ts';
import { http } from './http.ts';
import type { Metric } from './metric.ts';
import { roundTrip } from './round-trip.ts';

/** Every metric. Names are what `--only` matches. */
export function allMetrics(): Metric[] {
  return [
    bulk('bulk-1', 'same node', 'sameNode', 1),
    bulk('bulk-8', 'same node', 'sameNode', 8),
    bulk('bulk-1-across', 'across nodes', 'acrossNodes', 1),
    bulk('bulk-8-across', 'across nodes', 'acrossNodes', 8),
    smallDatagrams('udp', 'same node', 'sameNode'),
    smallDatagrams('udp-across', 'across nodes', 'acrossNodes'),
    forwardingRate('trafgen', 'same node', 'sameNode'),
    forwardingRate('trafgen-across', 'across nodes', 'acrossNodes'),
    roundTrip('rtt', 'same node', 'sameNode', false),
    roundTrip('rtt-loaded', 'same node, beside bulk', 'sameNode', true),
    roundTrip('rtt-across', 'across nodes', 'acrossNodes', false),
    roundTrip('rtt-across-loaded', 'across nodes, beside bulk', 'acrossNodes', true),
    connectionRate('connections', 'same node', 'sameNode'),
    connectionRate('connections-across', 'across nodes', 'acrossNodes'),
    http('http-pod', 'from a pod, same node', 'sameNode', true),
    http('http', 'NodePort, pod on that node', 'nodePortNear', true),
    http('http-new', 'NodePort, pod on that node', 'nodePortNear', false),
    http('http-across', 'NodePort, pod on the other node', 'nodePortFar', true),
    http('http-across-new', 'NodePort, pod on the other node', 'nodePortFar', false),
  ];
}
