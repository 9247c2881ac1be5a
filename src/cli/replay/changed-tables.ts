/**
 * The tables of a snapshot as they would be had manifests been applied, or objects deleted, at its moment: by the code of an
 * agent, which builds its tables from the objects of the snapshot, as after a restart, and then gets the change.
 */
import { attachConntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import type { TableBuffers } from '../../../native-free-dataplane/dataplane.ts';
import { attachNodeTable, type NodeTable, nextGeneration } from '../../../native-free-dataplane/node/config.ts';
import { hasNodePorts } from '../../../native-free-dataplane/node/host-routes.ts';
import { attachPolicies, withdrawImage } from '../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import { adoptAffinity } from '../../../native-free-dataplane/services/affinity.ts';
import { attachServices, createServices, type ServiceTable } from '../../../native-free-dataplane/services/table.ts';
import { ServiceWriter } from '../../../native-free-dataplane/services/writer.ts';
import { headerSecret } from '../../../native-free-dataplane/shared/layout.ts';
import { mappedIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import type { RemovedEndpoint } from '../../agent/connections/ended.ts';
import { flushEndpoints } from '../../agent/connections/flush.ts';
import { PodsByAddress } from '../../agent/policies/pods-by-address.ts';
import { HostPortSync } from '../../agent/services/host-port-sync.ts';
import { ServiceSync } from '../../agent/services/service-sync.ts';
import { DNS_PORT } from '../../api/cluster-options.ts';
import { namespaceLabels } from '../../api/namespace-labels.ts';
import { identityOf } from '../../api/replaced-objects.ts';
import { slicesOfService } from '../../api/service-slices.ts';
import { type EndpointSlice, type Service, WellKnown } from '../../api/types/objects.ts';
import { compilePolicies, type PolicyInput } from '../../compile/policies/compile-policies.ts';
import { policyRules } from '../../compile/policies/parse-cluster-policy.ts';
import { addressedPod, policyNode } from '../../compile/policies/policy-objects.ts';
import type { SnapshotObjects } from '../../observe/replay/objects.ts';
import { type NodeSnapshot, tablesOf } from '../../observe/replay/snapshot-file.ts';
import { appliedObjects, type Change, type ClusterObjects } from '../../ui/applied-objects.ts';
import { slicesOf } from '../../ui/service-slices.ts';

export interface Changed {
  /** The objects as they would be. */
  readonly objects: ClusterObjects;
  /** Makes a node's tables, new ones at each call. @throws RangeError if something does not fit */
  readonly tables: (snapshot: NodeSnapshot) => TableBuffers;
}

export function changed(objects: SnapshotObjects, change: Change): Changed {
  const before: ClusterObjects = {
    ...objects,
    namespaces: new Map(objects.namespaces.map(({ metadata }) => [metadata.name, namespaceLabels(metadata)])),
  };
  const after = appliedObjects(before, change);
  const tablesAfter = (snapshot: NodeSnapshot): TableBuffers => {
    const tables = tablesOf(snapshot);
    const node = attached(attachNodeTable(tables.routes));
    const services = changeServices(snapshot, tables, node, objects, { before, after });
    if (JSON.stringify(policyFacts(before)) !== JSON.stringify(policyFacts(after))) {
      changePolicies(tables, node, policyInput(snapshot, objects, after));
    }
    return { ...tables, services };
  };
  return { objects: after, tables: tablesAfter };
}

interface BeforeAndAfter {
  readonly before: ClusterObjects;
  readonly after: ClusterObjects;
}

/** A table of Services that had those of the snapshot, and then got the change; ends connections as the change does. */
function changeServices(
  { node: nodeName, nowMs }: NodeSnapshot,
  tables: TableBuffers,
  node: NodeTable,
  { nodes, pods, slices }: SnapshotObjects,
  { before, after }: BeforeAndAfter,
): ArrayBuffer {
  const old = attached(attachServices(tables.services));
  const buffer = new ArrayBuffer(tables.services.byteLength);
  const table = createServices(buffer, { ...sizesOf(old), secret: headerSecret(old.words) });
  const conntrack = attached(attachConntrack(tables.conntrack));
  const isNodePortAddress = (address: number): boolean => hasNodePorts(node, mappedIpv4(address));
  let changing = false;
  const onRemoved = (removed: readonly RemovedEndpoint[]): void => {
    if (changing) flushEndpoints(conntrack, removed, isNodePortAddress);
  };
  const onError = (_: unknown, error: Error): void => {
    if (changing) throw new RangeError(error.message);
  };
  const writer = new ServiceWriter(table);
  const now = (): number => nowMs;
  const zone = nodes.find(({ metadata }) => metadata.name === nodeName)?.metadata.labels?.[WellKnown.ZONE];
  const sync = new ServiceSync({ writer, place: { nodeName, zone }, held: true, now, onRemoved, onError });
  for (const service of before.services) sync.setService(service);
  for (const slice of slices) sync.setSlice(slice);
  sync.begin();
  const hostPorts = new HostPortSync({ writer, now, onPorts: () => {}, onRemoved, onError });
  hostPorts.setPods(pods.filter(({ spec }) => spec.nodeName === nodeName));
  adoptAffinity(table, old, nowMs);
  changing = true;
  applyServices(sync, slices, { before, after });
  return buffer;
}

function applyServices(sync: ServiceSync, slices: readonly EndpointSlice[], { before, after }: BeforeAndAfter): void {
  const kept = new Set(after.services.map(identityOf));
  for (const service of before.services) {
    if (kept.has(identityOf(service))) continue;
    for (const slice of slicesOfService(service, slices)) sync.removeSlice(slice);
    sync.removeService(service);
  }
  const known = new Map(before.services.map((service) => [identityOf(service), service]));
  for (const service of after.services) {
    const old = known.get(identityOf(service));
    const endpoints = slicesOf(service, after.pods);
    // The slices of the snapshot stay where the change has no part: they have zones and hints.
    const sameEndpoints = old && JSON.stringify(slicesOf(old, before.pods)) === JSON.stringify(endpoints);
    if (!sameEndpoints && (hasSelector(service) || hasSelector(old))) {
      for (const slice of slicesOfService(service, slices)) sync.removeSlice(slice);
      for (const slice of endpoints) sync.setSlice(slice);
    }
    if (service !== old) sync.setService(service);
  }
}

const hasSelector = (service: Service | undefined): boolean => Object.keys(service?.spec.selector ?? {}).length > 0;

/** What policies see of a cluster. */
const policyFacts = ({ policies, pods, namespaces }: ClusterObjects) => [
  policies,
  pods.map(({ metadata }) => [`${metadata.namespace}/${metadata.name}`, metadata.labels]),
  [...namespaces],
];

function policyInput(
  { node }: NodeSnapshot,
  { nodes, dnsByAgents }: SnapshotObjects,
  { policies, pods, namespaces }: ClusterObjects,
): PolicyInput | undefined {
  if (policies.length === 0) return undefined;
  const byAddress = new PodsByAddress();
  for (const pod of pods) {
    const addressed = addressedPod(pod);
    const { namespace, name } = pod.metadata;
    if (addressed !== undefined) byAddress.claim(`${namespace}/${name}`, addressed, pod.spec.nodeName === node);
  }
  return {
    policies: policies.map(policyRules),
    namespaces,
    pods: byAddress.all,
    nodes: nodes.map(policyNode),
    dnsPort: dnsByAgents ? DNS_PORT : undefined,
  };
}

/** Established connections are judged again by their next packet. */
function changePolicies(tables: TableBuffers, node: NodeTable, input: PolicyInput | undefined): void {
  const table = attached(attachPolicies(tables.policies));
  if (input === undefined) withdrawImage(table);
  else writePolicies(table, compilePolicies(input));
  nextGeneration(node);
}

function sizesOf({ chainMask, pool, endpoints, affinityMask }: ServiceTable) {
  return { slots: chainMask + 1, poolWords: pool.length, endpoints, affinitySlots: affinityMask + 1 };
}

function attached<T>(table: T | undefined): T {
  if (table === undefined) throw new RangeError('its tables have another layout than this version');
  return table;
}
