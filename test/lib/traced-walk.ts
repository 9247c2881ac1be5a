/**
 * `dataplane trace` over nodes in memory: copies of their tables, names from objects, a packet described by options.
 */
import type { Pod, Service } from '../../src/api/types/objects.ts';
import { readEnd, readFlags, readProtocol } from '../../src/cli/args/trace-packet.ts';
import { type NamedObjects, Names } from '../../src/observe/trace/names.ts';
import { NodeCopy } from '../../src/observe/trace/node-copy.ts';
import { Resolver } from '../../src/observe/trace/resolver.ts';
import { type Walk, Walker } from '../../src/observe/trace/walk.ts';
import type { TestNode } from './test-node.ts';
import { processTraced } from './traced-build.ts';

export interface TraceArgs {
  from: string;
  to: string;
  protocol?: string;
  flags?: string;
  srcPort?: number;
  ttl?: number;
  length?: number;
  src?: string;
}

/** Copies of the nodes' tables, under the names n1, n2, … */
function copiesOf(nodes: readonly TestNode[], seed = 7): NodeCopy[] {
  return nodes.map(({ buffers, dataplane, nowMs }, i) => {
    const tables = Object.fromEntries(
      Object.entries(buffers).map(([table, memory]) => [table, (memory as ArrayBuffer).slice(0)]),
    ) as unknown as typeof buffers;
    return new NodeCopy({ name: `n${i + 1}`, tables, features: dataplane }, nowMs, seed);
  });
}

export function traceArgs(nodes: readonly TestNode[], args: TraceArgs, objects: Partial<NamedObjects> = {}): Walk {
  const names = new Names({ pods: [], services: [], nodes: [], ...objects });
  const copies = copiesOf(nodes);
  const { from, frame } = new Resolver(copies, names, () => '172.18.0.1').packet({
    from: readEnd(args.from, 'FROM'),
    to: readEnd(args.to, '--to'),
    namespace: 'default',
    protocol: args.protocol === undefined ? undefined : readProtocol(args.protocol, '--protocol'),
    flags: args.flags === undefined ? undefined : readFlags(args.flags, '--tcp-flags'),
    srcPort: args.srcPort,
    ttl: args.ttl,
    payloadBytes: args.length,
    src: args.src,
  });
  return new Walker(copies, names, processTraced, nodes[0]!.nowMs).walk(frame, from);
}

/** A frame from outside, over copies of the nodes' tables. */
export function traceFromOutside(nodes: readonly TestNode[], frame: Uint8Array): Walk {
  const names = new Names({ pods: [], services: [], nodes: [] });
  const outside = { node: undefined, port: 0, name: 'outside' };
  return new Walker(copiesOf(nodes), names, processTraced, nodes[0]!.nowMs).walk(frame, outside);
}

/** A pod object with an address. */
export function podObject(name: string, ip: string, labels: Record<string, string> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels },
    spec: { containers: [], nodeName: 'n1' },
    status: { podIP: ip },
  } as unknown as Pod;
}

/** A Service object of one port. */
export function serviceObject(name: string, clusterIP: string, port: number, app: string): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: { clusterIP, selector: { app }, ports: [{ port, protocol: 'TCP' }] },
  } as unknown as Service;
}
