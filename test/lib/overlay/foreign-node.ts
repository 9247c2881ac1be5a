/**
 * A node without our agent: a namespace on the underlay whose kernel runs the overlay, set up as flannel does (flannel
 * pkg/backend/vxlan: a vxlan device without learning, and for every other node a permanent neighbour, a forwarding
 * entry and an onlink route), and one pod behind it.
 *
 *   dp-outside: underlay ── to-foreign ═══ eth0 172.18.0.100 :foreign: flannel.1, cni0 10.244.200.1/24
 *                                                              cni0 ── vethpod ═══ eth0 10.244.200.2 :foreign-pod
 */
import { output, run } from '../cluster.ts';
import { addNamespaces, ip, makeHost, removeNamespaces } from '../namespaces.ts';
import { nodeIdentity } from '../node-identity.ts';

export const FOREIGN = 'foreign';
export const FOREIGN_POD = 'foreign-pod';
export const FOREIGN_IP = '172.18.0.100';
export const FOREIGN_POD_IP = '10.244.200.2';
const FOREIGN_CIDR = '10.244.200.0/24';
export const FOREIGN_MAC = '5e:11:22:33:44:55';
const VXLAN_OVERHEAD = 50;

export interface FlannelOptions {
  /** Its namespace and its address; by default those of the foreign node. */
  netns?: string;
  address?: string;
  /** MTU of the underlay. Default 1500. */
  mtu?: number;
  vni?: number;
  /** The outer UDP checksum, which the kernel's device uses by default and RFC 7348 advises against. */
  udpChecksum?: boolean;
  mac?: string;
  /** Address of flannel.1: the first of its pod network. */
  vtep?: string;
}

/** One of our nodes as flannel on the foreign node would see it. */
export interface Peer {
  ip: string;
  podCIDR: string;
  vtepMac: string;
}

export const peerOf = (number: number): Peer => ({
  ip: nodeIdentity(number).nodeIP,
  podCIDR: nodeIdentity(number).podCIDR,
  vtepMac: `0a:58:0a:f4:0${number}:01`,
});

/** Creates the namespaces and links; no overlay yet. */
export async function makeForeignNode(mtu = 1500): Promise<void> {
  await addNamespaces(FOREIGN, FOREIGN_POD);
  await ip(
    'dp-outside',
    `link add to-foreign mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${FOREIGN}`,
    'link set to-foreign master underlay up',
  );
  await ip(
    FOREIGN,
    'link set lo up',
    'link set eth0 up',
    `address add ${FOREIGN_IP}/24 dev eth0`,
    `link add cni0 mtu ${mtu - VXLAN_OVERHEAD} type bridge`,
    'link set cni0 up',
    'address add 10.244.200.1/24 dev cni0',
    `link add vethpod mtu ${mtu - VXLAN_OVERHEAD} type veth peer name eth0 mtu ${mtu - VXLAN_OVERHEAD} netns ${FOREIGN_POD}`,
    'link set vethpod master cni0 up',
  );
  await makeHost(FOREIGN_POD, FOREIGN_POD_IP, '10.244.200.1');
  await output(run(['ip', 'netns', 'exec', FOREIGN, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']));
}

/** Creates flannel.1 and the entries for each peer; an existing device is replaced. */
export async function makeFlannel(peers: readonly Peer[], options: FlannelOptions = {}): Promise<void> {
  const { netns = FOREIGN, address = FOREIGN_IP, mtu = 1500, vni = 1, udpChecksum = true, mac = FOREIGN_MAC } = options;
  const { vtep = '10.244.200.0' } = options;
  await run(['ip', '-n', netns, 'link', 'del', 'flannel.1']);
  await ip(
    netns,
    `link add flannel.1 address ${mac} mtu ${mtu - VXLAN_OVERHEAD} type vxlan id ${vni} local ${address} ` +
      `dev eth0 dstport 4789 nolearning ${udpChecksum ? '' : 'noudpcsum'}`,
    `address add ${vtep}/32 dev flannel.1`,
    'link set flannel.1 up',
  );
  for (const peer of peers) {
    const network = peer.podCIDR.replace(/\/.*/, '');
    await ip(netns, `neighbour replace ${network} lladdr ${peer.vtepMac} dev flannel.1 nud permanent`);
    await output(
      run(['bridge', '-n', netns, 'fdb', 'replace', peer.vtepMac, 'dst', peer.ip, 'dev', 'flannel.1', 'permanent']),
    );
    await ip(netns, `route replace ${peer.podCIDR} via ${network} dev flannel.1 onlink`);
  }
}

/** The Node object that flannel would have annotated. */
export function foreignNodeObject(mac = FOREIGN_MAC, vni = 1, address = FOREIGN_IP, podCIDR = FOREIGN_CIDR) {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: 'foreign',
      annotations: {
        'flannel.alpha.coreos.com/backend-type': 'vxlan',
        'flannel.alpha.coreos.com/backend-data': JSON.stringify({ VNI: vni, VtepMAC: mac }),
        'flannel.alpha.coreos.com/public-ip': address,
        'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
      },
    },
    spec: { podCIDR },
  };
}

export const removeForeignNode = (): Promise<void> => removeNamespaces(FOREIGN, FOREIGN_POD);
