/**
 * The upper limit of any forwarder over TAPs: a C program that copies frames between two TAPs without parsing them
 * (relay.c). Across nodes, two of them bring a pod's frames to the bridge of its node and back, and the kernel's VXLAN
 * does the rest.
 */
import type { ChildProcess } from 'node:child_process';
import { ip, PREFIX, removeNetns } from '../lib/netns.ts';
import { background, end } from '../lib/processes.ts';
import { compiled, missing } from '../lib/tools.ts';
import { type Contender, POD_MTU, Port, type TestNetwork } from './contender.ts';
import {
  addBridges,
  addFlannel,
  addPodNetns,
  addUnderlay,
  configurePod,
  namesFor,
  removeNetwork,
} from './kernel-network.ts';

/** The device of a pod in its node's namespace. */
const NODE_DEVICE = 'pod0';

export function cRelay(): Contender {
  const names = namesFor('relay');
  const { a, b, c } = names.pods;
  const [n1, n2] = names.nodes;
  /** A client on node 1 for the other node: `a` has no way there. */
  const far = `${PREFIX}relay-d`;
  const relays: ChildProcess[] = [];
  const start = async (fromNetns: string, from: string, toNetns: string, to: string): Promise<void> => {
    relays.push(await background([compiled('relay'), fromNetns, from, toNetns, to], /ready/));
  };
  return {
    name: 'relay',
    title: 'C relay',
    about:
      "copies frames between two TAPs with all offloads, in C, without parsing them; across nodes to and from the kernel's VXLAN",
    unavailable: () => missing(['ip', 'bridge', 'gcc']),
    async up(): Promise<TestNetwork> {
      for (const pod of [a, b, c, far]) addPodNetns(pod);
      await start(a, 'eth0', b, 'eth0');
      configurePod(a, '10.244.1.2');
      configurePod(b, '10.244.1.3');
      addUnderlay(names);
      addBridges(names);
      addFlannel(names);
      for (const [pod, node, address] of [
        [far, n1, '10.244.1.4'],
        [c, n2, '10.244.2.2'],
      ] as const) {
        await start(pod, 'eth0', node, NODE_DEVICE);
        ip(node, `link set ${NODE_DEVICE} mtu ${POD_MTU} master cni0 up`);
        configurePod(pod, address);
      }
      return {
        sameNode: { clientNetns: a, serverNetns: b, address: '10.244.1.3', httpPort: Port.HTTP },
        acrossNodes: { clientNetns: far, serverNetns: c, address: '10.244.2.2', httpPort: Port.HTTP },
        forwarders: relays.map(({ pid }) => pid!),
        notes: [],
      };
    },
    async down(): Promise<void> {
      for (const relay of relays.splice(0)) await end(relay);
      removeNetns(far);
      removeNetwork(names);
    },
  };
}
