/**
 * A foreign node with another implementation: Open vSwitch's userspace datapath in a namespace on the underlay, its
 * VXLAN port driven by flows that correspond to flannel's routes, neighbours and forwarding entries. Its database,
 * sockets and pid files are in a directory of their own.
 *
 *   dp-outside: underlay ── to-ovs ═══ eth0 :ovs: br-phy 172.18.0.101, br-int (vx, pod) ═══ eth0 10.244.201.2 :ovs-pod
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { output, run } from '../cluster.ts';
import { addNamespaces, ip, removeNamespaces } from '../namespaces.ts';
import type { Peer } from './foreign-node.ts';

const OVS = 'ovs';
export const OVS_POD = 'ovs-pod';
export const OVS_IP = '172.18.0.101';
export const OVS_POD_IP = '10.244.201.2';
export const OVS_CIDR = '10.244.201.0/24';
export const OVS_MAC = '0a:58:0a:f4:c9:01';
const POD_MAC = '0a:58:0a:f4:c9:02';
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

/** The reason there can be no such node here; undefined if there can. */
export function whyNoOvs(): string | undefined {
  return existsSync(SCHEMA) && existsSync('/usr/sbin/ovs-vswitchd') ? undefined : 'openvswitch-switch is not installed';
}

export interface OvsNode {
  /** Stops the daemons and removes the namespaces. */
  remove(): Promise<void>;
}

/** @param port UDP port of the overlay */
export async function makeOvsNode(peers: readonly Peer[], port: number): Promise<OvsNode> {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-ovs-'));
  mkdirSync(directory, { recursive: true });
  const inside = (...args: string[]) =>
    output(run(['ip', 'netns', 'exec', OVS, ...args], { env: { OVS_RUNDIR: directory, OVS_LOGDIR: directory } }));
  const vsctl = (...args: string[]) => inside('ovs-vsctl', `--db=unix:${directory}/db.sock`, ...args);
  const flow = (text: string) => inside('ovs-ofctl', 'add-flow', `unix:${directory}/br-int.mgmt`, text);

  await addNamespaces(OVS, OVS_POD);
  await ip('dp-outside', 'link add to-ovs type veth peer name eth0 netns ovs', 'link set to-ovs master underlay up');
  await ip(OVS, 'link set lo up', 'link set eth0 up', `link add pod type veth peer name eth0 netns ${OVS_POD}`);
  await ip(OVS, 'link set pod up');
  await ip(
    OVS_POD,
    'link set lo up',
    `link set eth0 mtu 1450 address ${POD_MAC} up`,
    `address add ${OVS_POD_IP}/24 dev eth0`,
    `neighbour add 10.244.201.1 lladdr ${OVS_MAC} dev eth0 nud permanent`,
    'route add default via 10.244.201.1',
  );
  // A link carries packets, not super-packets: those entering Open vSwitch through a packet socket have to be segmented
  // and checksummed first.
  for (const [netns, device] of [
    ['dp-outside', 'to-ovs'],
    [OVS_POD, 'eth0'],
  ] as const) {
    await output(run(['ip', 'netns', 'exec', netns, 'ethtool', '-K', device, 'tx', 'off', 'gso', 'off', 'tso', 'off']));
  }

  const daemon = ['--detach', '--no-chdir'];
  await inside('ovsdb-tool', 'create', `${directory}/conf.db`, SCHEMA);
  await inside(
    'ovsdb-server',
    `${directory}/conf.db`,
    `--remote=punix:${directory}/db.sock`,
    `--pidfile=${directory}/db.pid`,
    `--unixctl=${directory}/db.ctl`,
    `--log-file=${directory}/db.log`,
    ...daemon,
  );
  await vsctl('--no-wait', 'init');
  await inside(
    'ovs-vswitchd',
    `unix:${directory}/db.sock`,
    '--disable-system',
    `--pidfile=${directory}/switch.pid`,
    `--unixctl=${directory}/switch.ctl`,
    `--log-file=${directory}/switch.log`,
    ...daemon,
  );
  const wire = (JSON.parse(await inside('ip', '-j', 'link', 'show', 'eth0')) as { address: string }[])[0]?.address;
  const netdev = 'datapath_type=netdev';
  await vsctl('add-br', 'br-phy', '--', 'set', 'bridge', 'br-phy', netdev, `other_config:hwaddr=${wire}`);
  await vsctl('add-port', 'br-phy', 'eth0');
  await vsctl('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', netdev, 'fail-mode=secure');
  await vsctl('add-port', 'br-int', 'pod', '--', 'set', 'interface', 'pod', 'ofport_request=1');
  const vxlan = [
    'type=vxlan',
    'options:remote_ip=flow',
    `options:local_ip=${OVS_IP}`,
    'options:key=1',
    `options:dst_port=${port}`,
  ];
  await vsctl('add-port', 'br-int', 'vx', '--', 'set', 'interface', 'vx', ...vxlan, 'ofport_request=2');
  await ip(OVS, `address add ${OVS_IP}/24 dev br-phy`, 'link set br-phy up');
  for (const peer of peers) {
    const macs = `set_field:${OVS_MAC}->eth_src,set_field:${peer.vtepMac}->eth_dst`;
    await flow(`in_port=1,ip,nw_dst=${peer.podCIDR},actions=dec_ttl,${macs},set_field:${peer.ip}->tun_dst,output:2`);
  }
  await flow(`in_port=2,ip,nw_dst=${OVS_POD_IP},actions=dec_ttl,set_field:${POD_MAC}->eth_dst,output:1`);

  return {
    async remove() {
      for (const name of ['switch', 'db']) {
        try {
          process.kill(Number(readFileSync(`${directory}/${name}.pid`, 'utf8')));
        } catch {
          // It has ended by itself.
        }
      }
      await removeNamespaces(OVS, OVS_POD);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
