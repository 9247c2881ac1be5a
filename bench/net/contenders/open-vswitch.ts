/** Open vSwitch's userspace datapath in the kernel-proxy role: conntrack with NAT on each node, VXLAN between them.
 *
 * One ovsdb-server and one ovs-vswitchd per node, in the node's namespace, with a database and sockets of their own:
 * the system's Open vSwitch, if there is one, is not touched. Pods hang on TAPs, or on veth pairs to compare
 * (DPB_OVS_PORTS=tap|veth|afxdp). */
import type { ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { inside, ip, stateDirectory } from '../lib/netns.ts';
import { background, end, run } from '../lib/processes.ts';
import { missing } from '../lib/tools.ts';
import { type Contender, POD_MTU, planServices, type TestNetwork } from './contender.ts';
import { networkOf } from './kernel.ts';
import {
  addPodNetns,
  addUnderlay,
  configurePod,
  type Names,
  namesFor,
  nodeIp,
  removeNetwork,
} from './kernel-network.ts';

type Attachment = 'veth' | 'tap' | 'afxdp';

interface Pod {
  netns: string;
  ip: string;
  mac: string;
  node: number;
  /** OpenFlow port number, asked for. */
  port: number;
}

const GATEWAY_MAC = '02:00:00:00:00:fe';
const VXLAN_PORT = 100;
const OUTSIDE_PATCH = 101;

/** One node's Open vSwitch: its processes and how to talk to them. */
class Switch {
  readonly node: number;
  readonly netns: string;
  readonly tso: boolean;
  readonly directory: string;
  processes: ChildProcess[] = [];
  pid = 0;

  constructor(node: number, netns: string, tso: boolean) {
    this.node = node;
    this.netns = netns;
    this.tso = tso;
    this.directory = stateDirectory(`ovs-${node + 1}`);
  }

  async start(): Promise<void> {
    const { directory } = this;
    const environment = ['env', `OVS_RUNDIR=${directory}`, `OVS_LOGDIR=${directory}`, `OVS_DBDIR=${directory}`];
    run(['ovsdb-tool', 'create', `${directory}/conf.db`, '/usr/share/openvswitch/vswitch.ovsschema']);
    const database = ['ovsdb-server', `${directory}/conf.db`, `--remote=punix:${directory}/db.sock`];
    const quiet = ['-vconsole:warn', '-vsyslog:off'];
    this.processes.push(
      await background(inside(this.netns, ...environment, ...database, `--unixctl=${directory}/db.ctl`, ...quiet)),
    );
    await waitFor(() => run(['ovs-vsctl', `--db=unix:${directory}/db.sock`, '--no-wait', 'init']));
    this.configure('--no-wait', 'set', 'Open_vSwitch', '.', `other_config:userspace-tso-enable=${this.tso}`);
    const daemon = [
      'ovs-vswitchd',
      `unix:${directory}/db.sock`,
      '--disable-system',
      `--unixctl=${directory}/vswitchd.ctl`,
    ];
    const child = await background(
      inside(this.netns, ...environment, ...daemon, `--log-file=${directory}/log`, ...quiet),
    );
    this.processes.push(child);
    this.pid = child.pid!;
    await waitFor(() => this.control('version'));
  }

  configure(...words: string[]): string {
    return run(['ovs-vsctl', '--timeout=10', `--db=unix:${this.directory}/db.sock`, ...words]);
  }

  control(...words: string[]): string {
    return run(['ovs-appctl', `--target=${this.directory}/vswitchd.ctl`, ...words]);
  }

  flows(bridge: string, flows: string[]): void {
    const target = `unix:${this.directory}/${bridge}.mgmt`;
    run(['ovs-ofctl', '-OOpenFlow15', 'add-flows', target, '-'], `${flows.join('\n')}\n`);
  }

  async stop(): Promise<void> {
    for (const child of this.processes.reverse()) await end(child);
    this.processes = [];
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/**
 * With userspace TSO super-packets pass whole between pods, but this version drops them at a tunnel: same node only.
 */
export function openVswitchTso(): Contender {
  const about = 'ovs-vswitchd with datapath_type=netdev and userspace TSO, conntrack + NAT; same node only';
  return openVswitch('ovs-tso', 'OVS userspace + TSO', about, true);
}

/** With frames of MTU size everywhere, which is what its tunnels need. */
export function openVswitchPlain(): Contender {
  const about =
    'ovs-vswitchd with datapath_type=netdev, conntrack + NAT, VXLAN across nodes; NodePort without masquerade';
  return openVswitch('ovs', 'OVS userspace', about, false);
}

function openVswitch(name: string, title: string, about: string, tso: boolean): Contender {
  const names = namesFor(name);
  let switches: Switch[] = [];
  return {
    name,
    title,
    about,
    unavailable: () =>
      missing(['ip', 'ethtool', 'ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-ofctl', 'ovs-appctl', 'ovsdb-tool']),
    async up(): Promise<TestNetwork> {
      const attachment = (process.env.DPB_OVS_PORTS ?? 'tap') as Attachment;
      addUnderlay(names);
      const pods: Pod[] = [
        { netns: names.pods.a, ip: '10.244.1.2', mac: '0a:58:0a:f4:01:02', node: 0, port: 2 },
        { netns: names.pods.b, ip: '10.244.1.3', mac: '0a:58:0a:f4:01:03', node: 0, port: 3 },
        { netns: names.pods.c, ip: '10.244.2.2', mac: '0a:58:0a:f4:02:02', node: 1, port: 2 },
      ];
      for (const pod of pods) addPodNetns(pod.netns);
      run(inside(names.outside, 'ethtool', '-K', 'underlay', 'tx', 'off'));
      switches = names.nodes.map((netns, at) => new Switch(at, netns, tso));
      const notes = [`pods on ${attachment} ports`];
      for (const one of switches) await startSwitch(one, names, pods, attachment);
      if (!switches[0]!.control('dpif/show').includes('netdev')) notes.push('not the userspace datapath');
      const said = /Userspace TSO.*|userspace-tso.*|Userspace TCP Segmentation.*/i.exec(
        run(['cat', `${switches[0]!.directory}/log`]),
      );
      if (said) notes.push(said[0]);
      const network = networkOf(names, true);
      network.nodePortFar = undefined;
      if (tso) {
        network.acrossNodes = undefined;
        // This version loses connections between a TAP and the underlay's packet socket.
        network.nodePortNear = undefined;
      }
      return { ...network, forwarders: switches.map(({ pid }) => pid), notes };
    },
    async down(): Promise<void> {
      for (const one of switches) await one.stop();
      switches = [];
      removeNetwork(names);
    },
  };
}

async function startSwitch(one: Switch, names: Names, pods: Pod[], attachment: Attachment): Promise<void> {
  const { netns, node } = one;
  await one.start();
  // Move the underlay's address to br-phy, from which the userspace datapath can send tunnel packets. br-phy gets a MAC
  // of its own, so that the kernel, which also sees each frame on eth0, does not process it.
  ip(netns, 'addr flush dev eth0');
  ip(netns, 'link set eth0 arp off');
  run(inside(netns, 'ethtool', '-K', 'eth0', 'tx', 'off'));
  one.configure(
    'add-br',
    'br-phy',
    '--',
    'set',
    'bridge',
    'br-phy',
    'datapath_type=netdev',
    `other-config:hwaddr=${nodeMac(node)}`,
  );
  one.configure('add-port', 'br-phy', 'eth0');
  ip(netns, `addr add ${nodeIp(node)}/24 dev br-phy`);
  ip(netns, 'link set br-phy up');
  one.configure('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', 'datapath_type=netdev', 'fail_mode=secure');
  const peer = nodeIp(1 - node);
  const vxlan = ['type=vxlan', `options:remote_ip=${peer}`, 'options:key=1', `ofport_request=${VXLAN_PORT}`];
  one.configure('add-port', 'br-int', 'vx1', '--', 'set', 'interface', 'vx1', ...vxlan);
  const patch = (bridge: string, name: string, other: string, port: number) =>
    one.configure(
      'add-port',
      bridge,
      name,
      '--',
      'set',
      'interface',
      name,
      'type=patch',
      `options:peer=${other}`,
      `ofport_request=${port}`,
    );
  patch('br-int', 'to-phy', 'to-int', OUTSIDE_PATCH);
  patch('br-phy', 'to-int', 'to-phy', OUTSIDE_PATCH);
  for (const pod of pods.filter((candidate) => candidate.node === node)) attach(one, pod, attachment);
  const outsideMac = linkAddress(names.outside, 'underlay');
  one.flows('br-int', integrationFlows(node, pods, nodeMac(node), outsideMac));
  one.flows('br-phy', ['priority=0,actions=NORMAL', ...nodePortFlows(node)]);
  // Fill the tunnel's neighbour table, which learns from ARP replies that pass through br-phy.
  one.control('tnl/arp/set', 'br-phy', peer, nodeMac(1 - node));
}

function attach(one: Switch, pod: Pod, attachment: Attachment): void {
  const device = `pod${pod.port}`;
  const request = `ofport_request=${pod.port}`;
  if (attachment === 'tap') {
    one.configure(
      'add-port',
      'br-int',
      device,
      '--',
      'set',
      'interface',
      device,
      'type=tap',
      request,
      `mtu_request=${POD_MTU}`,
    );
    // The switch keeps the file descriptor; the device is moved to the pod's namespace.
    ip(one.netns, `link set ${device} netns ${pod.netns} name eth0`);
  } else {
    ip(one.netns, `link add ${device} type veth peer name eth0 netns ${pod.netns}`);
    ip(one.netns, `link set ${device} up`);
    run(inside(pod.netns, 'ethtool', '-K', 'eth0', 'tx', 'off'));
    const type = attachment === 'afxdp' ? ['type=afxdp'] : [];
    one.configure('add-port', 'br-int', device, '--', 'set', 'interface', device, ...type, request);
  }
  configurePod(pod.netns, pod.ip, pod.mac);
  ip(pod.netns, `neigh replace ${pod.ip.replace(/\d+$/, '1')} lladdr ${GATEWAY_MAC} dev eth0 nud permanent`);
  ip(pod.netns, `neigh replace 10.244.1.2 lladdr 0a:58:0a:f4:01:02 dev eth0 nud permanent`);
  ip(pod.netns, `neigh replace 10.244.1.3 lladdr 0a:58:0a:f4:01:03 dev eth0 nud permanent`);
}

/** Table 0: conntrack. 1: new connections choose their endpoint. 2: deliver by destination address. */
function integrationFlows(node: number, pods: Pod[], mac: string, outsideMac: string): string[] {
  const flows = [
    'table=0,priority=10,ip,actions=ct(table=1,zone=1,nat)',
    'table=1,priority=10,ct_state=+trk+inv,actions=drop',
    'table=1,priority=10,ct_state=+trk+est,actions=resubmit(,2)',
    'table=1,priority=10,ct_state=+trk+rel,actions=resubmit(,2)',
    'table=1,priority=1,ct_state=+trk+new,ip,actions=ct(commit,table=2,zone=1)',
  ];
  for (const { clusterIp, protocol, port, nodePort, endpoints } of planServices()) {
    const to = `${endpoints[0]!.ip}:${endpoints[0]!.port}`;
    const commit = `actions=ct(commit,table=2,zone=1,nat(dst=${to}))`;
    flows.push(`table=1,priority=5,ct_state=+trk+new,${protocol},nw_dst=${clusterIp},tp_dst=${port},${commit}`);
    if (nodePort) {
      flows.push(
        `table=1,priority=5,ct_state=+trk+new,${protocol},nw_dst=${nodeIp(node)},tp_dst=${nodePort},${commit}`,
      );
    }
  }
  for (const pod of pods) {
    const output = pod.node === node ? pod.port : VXLAN_PORT;
    flows.push(
      `table=2,ip,nw_dst=${pod.ip},actions=mod_dl_src:${GATEWAY_MAC},mod_dl_dst:${pod.mac},dec_ttl,output:${output}`,
    );
  }
  flows.push(
    `table=2,priority=1,ip,nw_dst=172.18.0.0/24,actions=mod_dl_src:${mac},mod_dl_dst:${outsideMac},output:${OUTSIDE_PATCH}`,
  );
  return flows;
}

function nodePortFlows(node: number): string[] {
  return planServices()
    .filter(({ nodePort }) => nodePort)
    .map(({ nodePort, protocol }) => {
      const match = `${protocol},nw_dst=${nodeIp(node)},tp_dst=${nodePort}`;
      return `priority=10,${match},actions=output:${OUTSIDE_PATCH}`;
    });
}

function linkAddress(netns: string, device: string): string {
  const [link] = JSON.parse(run(['ip', '-j', '-n', netns, 'link', 'show', 'dev', device])) as { address: string }[];
  return link!.address;
}

/** Hardware address of br-phy on node `at`. */
function nodeMac(at: number): string {
  return `02:00:00:00:01:0${at + 1}`;
}

async function waitFor(attempt: () => void): Promise<void> {
  for (let left = 50; ; left--) {
    try {
      return attempt();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
