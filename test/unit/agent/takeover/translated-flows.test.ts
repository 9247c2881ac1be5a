/** Which of the kernel's connections move to our table at a takeover, which are left to it, and which are neither. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressWords } from '../../../../native-free-dataplane/wire/address.ts';
import { keptElements, movesTo, serviceFlows } from '../../../../src/agent/takeover/translated-flows.ts';
import { type KernelFlow, KernelStatus } from '../../../../src/linux/kernel-conntrack.ts';

const word = (address: string): number => addressWords(address)[3] as number;
const end = (text: string): [number, number] => {
  const [address = '', port = ''] = text.split(':');
  return [word(address), Number(port)];
};
const tuple = (from: string, to: string) => {
  const [[src, srcPort], [dst, dstPort]] = [end(from), end(to)];
  return { src, srcPort, dst, dstPort };
};
const BOTH = KernelStatus.DNAT | KernelStatus.SNAT;

function flow(original: [string, string], reply: [string, string], more: Partial<KernelFlow> = {}): KernelFlow {
  const tuples = { original: tuple(...original), reply: tuple(...reply) };
  return { protocol: 6, status: BOTH, timeoutSeconds: 100, tcpState: 3, ...tuples, ...more };
}

const places = {
  serviceCIDR: '10.96.0.0/12',
  nodePortRange: [30000, 32767] as const,
  localAddresses: ['172.18.0.11'],
  serviceAddresses: new Set(['192.0.2.7']),
};
const CLIENT = '172.18.0.1:4000';
const TO_POD: [string, string] = ['10.244.2.5:80', '10.244.1.0:4000'];
const ofNodePort = flow([CLIENT, '172.18.0.11:30080'], TO_POD);

test('connections of services are those that were translated from an address of a service', () => {
  const loadBalancer = flow([CLIENT, '192.0.2.7:80'], TO_POD);
  const clusterIP = flow(['172.18.0.11:4000', '10.96.0.1:443'], ['172.18.0.9:6443', '172.18.0.11:4000']);
  const all = [ofNodePort, loadBalancer, clusterIP];
  assert.equal(serviceFlows(all, places), all);
});

test('connections of others are not, nor those that are over', () => {
  const none = [
    flow([CLIENT, '172.18.0.11:8080'], ['172.17.0.2:80', CLIENT]),
    flow([CLIENT, '172.18.0.12:30080'], TO_POD),
    { ...ofNodePort, status: KernelStatus.SNAT },
    { ...ofNodePort, status: BOTH | KernelStatus.DYING },
    { ...ofNodePort, tcpState: 7 },
    { ...ofNodePort, protocol: 1 },
  ];
  assert.equal(serviceFlows(none, places), []);
});

test('a connection moves if its endpoint is a pod of another node and its source an address of this node’s pods', () => {
  const moves = movesTo({ podCIDR: '10.244.1.0/24', isRemotePod: (address) => address >>> 8 === 0x0af402 });
  assert.is(moves(ofNodePort), true);
  const kept = [
    flow([CLIENT, '172.18.0.11:30080'], ['10.244.1.9:80', '10.244.1.1:4000']),
    flow([CLIENT, '172.18.0.11:30080'], ['172.18.0.12:80', '172.18.0.11:4000']),
    flow([CLIENT, '172.18.0.11:30080'], ['10.244.2.5:80', '172.18.0.11:4000']),
    { ...flow(['10.244.1.9:4000', '10.96.0.1:80'], ['10.244.2.5:80', '10.244.1.9:4000']), status: KernelStatus.DNAT },
  ];
  assert.equal(kept.filter(moves), []);
});

test('of what is left to the kernel, the packets of both directions are', () => {
  assert.equal(keptElements([ofNodePort]), [
    '172.18.0.1 . 6 . 4000 . 172.18.0.11 . 30080',
    '10.244.2.5 . 6 . 80 . 10.244.1.0 . 4000',
  ]);
});

test.run();
