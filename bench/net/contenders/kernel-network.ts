/**
 * Two nodes with kernel networking: a bridge with veth pairs on each, and flannel's VXLAN between them. The contenders
 * add their rules; Open vSwitch uses the same names and replaces the bridges.
 */
import { addNetns, ip, PREFIX, removeNetns, sysctl } from '../lib/netns.ts';
import { run } from '../lib/processes.ts';
import { POD_MTU } from './contender.ts';

export interface Names {
  outside: string;
  nodes: [string, string];
  /** Pods: a (client) and b on node 1, c on node 2. */
  pods: { a: string; b: string; c: string };
}

const VXLAN_PORT = 4789;

export function namesFor(contender: string): Names {
  const name = (part: string) => `${PREFIX}${contender}-${part}`;
  return {
    outside: name('out'),
    nodes: [name('n1'), name('n2')],
    pods: { a: name('a'), b: name('b'), c: name('c') },
  };
}

/** The outside namespace with the underlay's bridge, and node namespaces attached to it by `eth0`, with routing on. */
export function addUnderlay(names: Names): void {
  addNetns(names.outside);
  // The underlay represents a switch: no netfilter on its bridge, as with dataplane.
  sysctl(names.outside, { 'net/ipv4/ip_local_port_range': '1024 65535', 'net/bridge/bridge-nf-call-iptables': 0 });
  ip(names.outside, 'link add underlay type bridge');
  ip(names.outside, 'addr add 172.18.0.1/24 dev underlay');
  ip(names.outside, 'link set underlay up');
  names.nodes.forEach((node, at) => {
    addNetns(node);
    sysctl(node, { 'net/ipv4/ip_forward': 1, 'net/ipv4/conf/all/rp_filter': 0, 'net/ipv4/conf/default/rp_filter': 0 });
    ip(names.outside, `link add n${at + 1} type veth peer name eth0 netns ${node}`);
    ip(names.outside, `link set n${at + 1} master underlay up`);
    ip(node, `addr add ${nodeIp(at)}/24 dev eth0`);
    ip(node, 'link set eth0 up');
    ip(node, 'route add default via 172.18.0.1');
  });
}

/** Address of node `at` (0, 1) on the underlay. */
export function nodeIp(at: number): string {
  return `172.18.0.${11 + at}`;
}

/** A pod's namespace, without its device yet. */
export function addPodNetns(netns: string): void {
  addNetns(netns);
  sysctl(netns, { 'net/ipv4/ip_local_port_range': '1024 65535' });
}

/** Configures address, MTU and routes of a pod whose `eth0` exists. */
export function configurePod(netns: string, address: string, mac?: string): void {
  const gateway = address.replace(/\.\d+$/, '.1');
  if (mac) ip(netns, `link set eth0 address ${mac}`);
  ip(netns, `addr add ${address}/24 dev eth0`);
  ip(netns, `link set eth0 mtu ${POD_MTU} up`);
  ip(netns, `route add default via ${gateway}`);
}

/** Bridges with pods, as the CNI bridge plugin makes them, and flannel's VXLAN device on each node. */
export function addKernelPods(names: Names): void {
  const pods: [string, number, string][] = [
    [names.pods.a, 0, '10.244.1.2'],
    [names.pods.b, 0, '10.244.1.3'],
    [names.pods.c, 1, '10.244.2.2'],
  ];
  addBridges(names);
  for (const [pod, at, address] of pods) {
    const node = names.nodes[at]!;
    addPodNetns(pod);
    const device = `veth${address.split('.').pop()}`;
    ip(node, `link add ${device} mtu ${POD_MTU} type veth peer name eth0 netns ${pod}`);
    ip(node, `link set ${device} master cni0 up`);
    // The CNI bridge plugin with hairpinMode, as kube-proxy's own hairpin traffic needs.
    run(['bridge', '-n', node, 'link', 'set', 'dev', device, 'hairpin', 'on']);
    configurePod(pod, address);
  }
  addFlannel(names);
}

/** The bridge of each node, with the pods' gateway. */
export function addBridges(names: Names): void {
  names.nodes.forEach((node, at) => {
    ip(node, `link add cni0 mtu ${POD_MTU} type bridge`);
    ip(node, `addr add 10.244.${at + 1}.1/24 dev cni0`);
    ip(node, 'link set cni0 up');
  });
}

/** Removes every namespace of the network, with the processes inside. */
export function removeNetwork(names: Names): void {
  for (const netns of [...Object.values(names.pods), ...names.nodes, names.outside]) removeNetns(netns);
}

/**
 * As flannel's vxlan backend does it (pkg/backend/vxlan): no learning; neighbour, FDB entry and route per peer, by
 * hand.
 */
export function addFlannel(names: Names): void {
  const mac = (at: number) => `02:00:00:f1:00:0${at + 1}`;
  names.nodes.forEach((node, at) => {
    const peer = 1 - at;
    ip(
      node,
      `link add flannel.1 address ${mac(at)} type vxlan id 1 local ${nodeIp(at)} dev eth0 nolearning dstport ${VXLAN_PORT}`,
    );
    ip(node, `link set flannel.1 mtu ${POD_MTU} up`);
    ip(node, `addr add 10.244.${at + 1}.0/32 dev flannel.1`);
    ip(node, `neigh replace 10.244.${peer + 1}.0 lladdr ${mac(peer)} dev flannel.1 nud permanent`);
    run(['bridge', '-n', node, 'fdb', 'replace', mac(peer), 'dev', 'flannel.1', 'dst', nodeIp(peer)]);
    ip(node, `route replace 10.244.${peer + 1}.0/24 via 10.244.${peer + 1}.0 dev flannel.1 onlink`);
  });
}
