import type { NodeIdentity } from '../../src/agent/node-sync.ts';

/** Default identity of node `number` in tests: underlay 172.18.0.(10+n), pods 10.244.n.0/24. */
export function nodeIdentity(number = 1): NodeIdentity {
  return {
    nodeIP: `172.18.0.${10 + number}`,
    podCIDR: `10.244.${number}.0/24`,
    clusterCIDR: '10.244.0.0/16',
    serviceCIDR: '10.96.0.0/12',
    overlay: 'vxlan',
    vxlanPort: 4789,
    vni: 1,
    podMtu: 1450,
    underlayMtu: 1500,
    portPolicy: 'open',
    localPolicyDrops: false,
    nodePortRange: [30000, 32767],
    masqueradePorts: [32768, 49151],
  };
}
