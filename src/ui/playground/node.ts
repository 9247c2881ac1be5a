/** A node in the memory of this process: its tables, laid out and filled as an agent does, without devices and workers. */
import { conntrackBytes, createConntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import type { TableBuffers } from '../../../native-free-dataplane/dataplane.ts';
import { createFragments, fragmentsBytes } from '../../../native-free-dataplane/fragments/table.ts';
import { createNodeTable, nodeTableBytes } from '../../../native-free-dataplane/node/config.ts';
import { createPolicies, policyBytes } from '../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import { createServices, servicesBytes } from '../../../native-free-dataplane/services/table.ts';
import { ServiceWriter } from '../../../native-free-dataplane/services/writer.ts';
import { countersBytes, createCounters } from '../../../native-free-dataplane/shared/counters.ts';
import { writePodNetwork } from '../../agent/connections/settings.ts';
import { type LocalPod, type NodeIdentity, NodeSync, type RemoteNode } from '../../agent/node-sync.ts';
import type { CompiledService } from '../../compile/compile-service.ts';
import type { PolicyInput } from '../../compile/policies/compile-policies.ts';
import { compilePolicies } from '../../compile/policies/compile-policies.ts';
import { NodeCopy } from '../../observe/trace/node-copy.ts';

/** Keys the hashes. Nobody attacks a playground. */
const SECRET: Int32Array = Int32Array.of(0x6d63, 0x33, 0x5eed, 0x7ab1e);
const CONNTRACK = { addressWords: 1, max: 1024, workers: 1, secret: SECRET };
const SERVICES = { slots: 1024, poolWords: 65_536, endpoints: 2048, affinitySlots: 256 };
const NODE = { maxHops: 128, routeSlots: 512, hostRouteSlots: 64, declaredSlots: 512 };
const COUNTERS = { workers: 1, ports: 64 };
const POLICIES = { halfWords: 65_536, maxRules: 256 };

export interface NodeContents {
  readonly name: string;
  readonly identity: NodeIdentity;
  readonly pods: readonly LocalPod[];
  readonly peers: readonly RemoteNode[];
  readonly services: readonly CompiledService[];
  /** Undefined: no policy is in force. */
  readonly policies: PolicyInput | undefined;
}

/** The node's tables with these contents, and a pipeline over them. @throws RangeError if something does not fit */
export function buildNode({ name, identity, pods, peers, services, policies }: NodeContents, nowMs: number): NodeCopy {
  const tables: TableBuffers = {
    conntrack: new ArrayBuffer(conntrackBytes(CONNTRACK)),
    services: new ArrayBuffer(servicesBytes(SERVICES)),
    routes: new ArrayBuffer(nodeTableBytes(NODE)),
    counters: new ArrayBuffer(countersBytes(COUNTERS)),
    fragments: new ArrayBuffer(fragmentsBytes()),
    policies: new ArrayBuffer(policyBytes(POLICIES)),
  };
  writePodNetwork(createConntrack(tables.conntrack as ArrayBuffer, CONNTRACK), identity.podCIDR);
  createCounters(tables.counters as ArrayBuffer, { ...COUNTERS, secret: SECRET });
  createFragments(tables.fragments as ArrayBuffer, { secret: SECRET });
  const sync = new NodeSync(createNodeTable(tables.routes as ArrayBuffer, { ...NODE, secret: SECRET }), identity);
  for (const pod of pods) {
    const port = sync.freePort();
    if (port === undefined) throw new RangeError(`node ${name}: no port is left for pod ${pod.key}`);
    sync.setPod(port, pod);
  }
  for (const peer of peers) sync.setNode(peer);
  const writer = new ServiceWriter(createServices(tables.services as ArrayBuffer, { ...SERVICES, secret: SECRET }));
  for (const { ports } of services) for (const port of ports) writer.set(port, nowMs);
  const policyTable = createPolicies(tables.policies as ArrayBuffer, { ...POLICIES, secret: SECRET });
  if (policies !== undefined) writePolicies(policyTable, compilePolicies(policies));
  const features = { tunnelOffload: false, udpSegmentation: false };
  return new NodeCopy({ name, tables, features }, nowMs, 7);
}
