/**
 * flannel's annotations: what each node of an overlay publishes about itself, and what all must agree on. The fields of each
 * overlay are in native-free-dataplane/overlay/modes.ts. Source: flannel pkg/subnet/kube/annotations.go.
 */
import { OVERLAYS } from '../../native-free-dataplane/overlay/modes.ts';
import { gatewayOf, macOf } from '../net/pod-network.ts';
import type { OverlayOptions } from './cluster-options.ts';
import { FlannelAnnotation } from './types/objects.ts';

type Options = Readonly<Pick<OverlayOptions, 'overlay' | 'vni'>>;

/** How the pods of a node are reached. @param node its address on the underlay, and its pod network */
export function flannelAnnotations(
  node: { readonly ip: string; readonly podCIDR: string },
  cluster: Options,
): Record<string, string> {
  return {
    [FlannelAnnotation.BACKEND_TYPE]: cluster.overlay,
    [FlannelAnnotation.BACKEND_DATA]: JSON.stringify(backendDataOf(cluster, macOf(gatewayOf(node.podCIDR)))),
    [FlannelAnnotation.PUBLIC_IP]: node.ip,
    [FlannelAnnotation.SUBNET_MANAGER]: 'true',
  };
}

/** The value of annotation `backend-data`; null for an overlay without data, as flannel writes it. */
function backendDataOf(options: Options, vtepMac: string): Record<string, number | string> | null {
  const { backendData } = OVERLAYS[options.overlay];
  if (backendData === undefined) return null;
  const values = Object.entries(backendData).map(([name, from]) => [
    name,
    from === 'vtepMac' ? vtepMac : options[from],
  ]);
  return Object.fromEntries(values) as Record<string, number | string>;
}

/** The object in an annotation; empty if the annotation is missing, or not an object. */
export function parseBackendData(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(text ?? '{}') as Record<string, unknown> | null) ?? {};
  } catch {
    return {};
  }
}

/** Why a node that published this data is not a peer in this cluster; undefined if it is. */
export function whyOtherBackend(data: Readonly<Record<string, unknown>>, options: Options): string | undefined {
  for (const [name, from] of Object.entries(OVERLAYS[options.overlay].backendData ?? {})) {
    const theirs = data[name];
    // Every node has a VTEP of its own.
    if (from === 'vtepMac' || typeof theirs !== typeof options[from] || theirs === options[from]) continue;
    return `its ${name} is ${theirs}, this cluster's is ${options[from]}`;
  }
  return undefined;
}
