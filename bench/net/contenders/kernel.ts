/**
 * The kernel's path, three times: without rules, with kube-proxy's iptables rules, with kube-proxy's nftables rules.
 */
import { iptablesRules } from '../kube-proxy/iptables-rules.ts';
import { nftablesRules } from '../kube-proxy/nftables-rules.ts';
import { inside, sysctl } from '../lib/netns.ts';
import { run } from '../lib/processes.ts';
import { missing } from '../lib/tools.ts';
import {
  type Contender,
  FAR_IP,
  NEAR_IP,
  NodePort,
  POD_CIDR,
  Port,
  planServices,
  type TestNetwork,
} from './contender.ts';
import { addKernelPods, addUnderlay, type Names, namesFor, nodeIp, removeNetwork } from './kernel-network.ts';

/** veth + bridge, VXLAN across nodes, no filtering and no translation: clients connect to pods directly. */
export function kernelBridge(): Contender {
  return kernelContender(
    'bridge',
    'kernel bridge',
    'veth + bridge, VXLAN across nodes; no rules, no conntrack',
    [],
    false,
    (names) => {
      for (const node of names.nodes) {
        // Without rules, bridged packets need not be passed to netfilter.
        sysctl(node, { 'net/bridge/bridge-nf-call-iptables': 0 });
      }
    },
  );
}

/** kube-proxy's iptables mode over the same bridges. */
export function kernelIptables(): Contender {
  const about = "veth + bridge + kube-proxy's iptables chains; across nodes flannel's VXLAN";
  return kernelContender('iptables', 'kernel + iptables', about, ['iptables-restore'], true, (names) => {
    const rules = [...iptablesRules(planServices(), POD_CIDR)].join('');
    for (const node of names.nodes) run(inside(node, 'iptables-restore'), rules);
  });
}

/** kube-proxy's nftables mode over the same bridges. */
export function kernelNftables(): Contender {
  const about = "veth + bridge + kube-proxy's nftables maps; across nodes flannel's VXLAN";
  return kernelContender('nftables', 'kernel + nftables', about, ['nft'], true, (names) => {
    names.nodes.forEach((node, at) => {
      const rules = [...nftablesRules(planServices(), POD_CIDR, nodeIp(at))].join('');
      run(inside(node, 'nft', '-f', '-'), rules);
    });
  });
}

function kernelContender(
  name: string,
  title: string,
  about: string,
  needs: string[],
  services: boolean,
  addRules: (names: Names) => void,
): Contender {
  const names = namesFor(name);
  return {
    name,
    title,
    about,
    unavailable: () => missing(['ip', 'bridge', ...needs]),
    async up(): Promise<TestNetwork> {
      addUnderlay(names);
      addKernelPods(names);
      addRules(names);
      return networkOf(names, services);
    },
    async down(): Promise<void> {
      removeNetwork(names);
    },
  };
}

/** The paths of the common plan; without services clients connect to pods directly, and there is no NodePort. */
export function networkOf(names: Names, services: boolean): TestNetwork {
  const { a, b, c } = names.pods;
  const to = (clientNetns: string, serverNetns: string, address: string, httpPort: number = Port.HTTP) => ({
    clientNetns,
    serverNetns,
    address,
    httpPort,
  });
  return {
    sameNode: to(a, b, services ? NEAR_IP : '10.244.1.3'),
    acrossNodes: to(a, c, services ? FAR_IP : '10.244.2.2'),
    nodePortNear: services ? to(names.outside, b, nodeIp(0), NodePort.NEAR) : undefined,
    nodePortFar: services ? to(names.outside, c, nodeIp(0), NodePort.FAR) : undefined,
    forwarders: [],
    notes: [],
  };
}
