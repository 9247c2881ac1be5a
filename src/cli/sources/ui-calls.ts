/** The calls of the page: the walk of a packet, an object as a manifest, and what a manifest would change. */
import { stringify } from 'yaml';
import type { ApiClient } from '../../api/client/client.ts';
import { resourceOfKind } from '../../api/resources.ts';
import { type Kind, type KubeObject, WellKnown } from '../../api/types/objects.ts';
import { parseManifests } from '../../cluster/manifests/manifests.ts';
import { gatewayOf } from '../../net/pod-network.ts';
import { WHAT_IF_KINDS } from '../../ui/applied-objects.ts';
import type { WalkView, WhatIfAnswer } from '../../ui/protocol.ts';
import { BadRequest, type Call } from '../../ui/server/http-server.ts';
import { readWalkRequest } from '../../ui/walk-request.ts';
import { walkView } from '../../ui/walk-view.ts';
import { whatIf } from '../../ui/what-if.ts';
import { nodesWithFlows, readFlows } from './conntrack.ts';
import { readLosses } from './node-kernels.ts';
import { endsOf, livePolicies, trackedConnections } from './policies.ts';
import { readNamedObjects, walkLive } from './trace.ts';

/** Calls that copy tables: one at a time, and so many that may wait. */
const MAX_WAITING = 8;

export function uiCalls(client: ApiClient): Readonly<Record<string, Call>> {
  const turn = oneAtATime();
  return {
    walk: (request) => turn(() => withReason(() => walk(client, request))),
    'what-if': (request) => turn(() => withReason(() => askWhatIf(client, request))),
    manifest: (request) => withReason(() => manifest(client, request)),
  };
}

/** Errors of these calls are about the request or the cluster's state: their texts are for people. */
async function withReason<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new BadRequest((error as Error).message);
  }
}

function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  return (work) => {
    if (waiting >= MAX_WAITING) throw new BadRequest('too many requests at once: try again');
    waiting++;
    const mine = last.then(work).finally(() => waiting--);
    last = mine.catch(() => {});
    return mine;
  };
}

async function walk(client: ApiClient, request: unknown): Promise<WalkView> {
  const packet = readWalkRequest(request);
  const [objects, lossAt] = await Promise.all([readNamedObjects(client), readLosses()]);
  const found = walkLive(objects, (resolver) => resolver.packet(packet), { withFrames: true, lossAt });
  if (found === undefined) throw new BadRequest('no node of the cluster runs on this machine any more');
  return walkView(found);
}

async function askWhatIf(client: ApiClient, request: unknown): Promise<WhatIfAnswer> {
  const { manifest: text, remove } = request as { manifest?: unknown; remove?: unknown };
  if (typeof text !== 'string') throw new BadRequest('expected a manifest');
  const objects = parseManifests([{ name: 'manifest', text }]).map(({ object }) => object as KubeObject);
  if (objects.length === 0) throw new BadRequest('the manifest contains no object');
  const other = objects.find(({ kind }) => !WHAT_IF_KINDS.includes(kind));
  if (other !== undefined) {
    throw new BadRequest(`${other.kind} ${other.metadata.name}: expected ${WHAT_IF_KINDS.join(', ')}`);
  }
  const [live, services, slices] = await Promise.all([
    livePolicies(client),
    client.list('Service'),
    client.list('EndpointSlice'),
  ]);
  const nodeAddresses = live.nodeObjects.flatMap(({ spec, status }) => [
    ...(status?.addresses ?? []).map(({ address }) => address),
    ...(spec?.podCIDR?.includes('.') ? [gatewayOf(spec.podCIDR)] : []),
  ]);
  return whatIf(
    {
      ...live,
      services: services.items,
      slices: slices.items,
      nodeAddresses: new Set(nodeAddresses),
      seen: trackedConnections(live),
      flows: nodesWithFlows().flatMap(readFlows),
      endsOf,
    },
    { objects, remove: remove === true },
  );
}

/** What the server adds, and what is of no use in a manifest. */
const SERVER_FIELDS = ['managedFields', 'uid', 'resourceVersion', 'creationTimestamp', 'generation', 'selfLink'];

async function manifest(client: ApiClient, request: unknown): Promise<{ text: string }> {
  const { kind, namespace, name } = request as { kind?: unknown; namespace?: unknown; name?: unknown };
  if (typeof kind !== 'string' || !WHAT_IF_KINDS.includes(kind) || typeof name !== 'string') {
    throw new BadRequest(`expected an object of kind ${WHAT_IF_KINDS.join(', ')}`);
  }
  const home = resourceOfKind(kind)?.namespaced && typeof namespace === 'string' ? namespace : undefined;
  const { status: _, ...object } = (await client.get(kind as Kind, name, home)) as KubeObject & { status?: unknown };
  const metadata = Object.fromEntries(
    Object.entries(object.metadata).filter(([field]) => !SERVER_FIELDS.includes(field)),
  );
  const annotations = Object.entries(object.metadata.annotations ?? {}).filter(
    ([key]) => key !== WellKnown.LAST_APPLIED,
  );
  return {
    text: stringify({
      ...object,
      metadata: { ...metadata, annotations: annotations.length > 0 ? Object.fromEntries(annotations) : undefined },
    }),
  };
}
