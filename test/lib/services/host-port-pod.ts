/** A pod with host ports, as the API has it. */
import { type Pod, WellKnown } from '../../../src/api/types/objects.ts';

export interface PortText {
  readonly containerPort: number;
  readonly hostPort?: number;
  readonly hostIP?: string;
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
}

export function hostPortPod(name: string, ip: string, ports: readonly PortText[]): Pod {
  const pod: unknown = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid: `uid-${name}`, annotations: { [WellKnown.POD_IP]: ip } },
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'process', ports: [...ports] }] },
    status: { phase: 'Running' },
  };
  return pod as Pod;
}
