/** Where the addresses of Services come from, and which are in use (networking.k8s.io/v1). */
import type { Condition, KubeObject } from './meta.ts';

export interface ServiceCIDR extends KubeObject {
  apiVersion: 'networking.k8s.io/v1';
  kind: 'ServiceCIDR';
  spec: { cidrs?: string[] };
  status?: { conditions?: Condition[] };
}

/** Its name is the address. */
export interface IPAddress extends KubeObject {
  apiVersion: 'networking.k8s.io/v1';
  kind: 'IPAddress';
  spec: { parentRef?: { group?: string; resource?: string; namespace?: string; name?: string } };
}
