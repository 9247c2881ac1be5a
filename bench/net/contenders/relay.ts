/**
 * The upper limit of any forwarder over TAPs: a C program that copies frames between two TAPs without parsing them
 * (relay.c).
 */
import type { ChildProcess } from 'node:child_process';
import { background, end } from '../lib/processes.ts';
import { compiled, missing } from '../lib/tools.ts';
import type { Contender, TestNetwork } from './contender.ts';
import { Port } from './contender.ts';
import { addPodNetns, configurePod, namesFor, removeNetwork } from './kernel-network.ts';

export function cRelay(): Contender {
  const names = namesFor('relay');
  const { a, b } = names.pods;
  let relay: ChildProcess | undefined;
  return {
    name: 'relay',
    title: 'C relay',
    about: 'copies frames between two TAPs with all offloads, in C, without parsing them; same node only',
    unavailable: () => missing(['ip', 'gcc']),
    async up(): Promise<TestNetwork> {
      addPodNetns(a);
      addPodNetns(b);
      relay = await background([compiled('relay'), a, 'eth0', b, 'eth0'], /ready/);
      configurePod(a, '10.244.1.2');
      configurePod(b, '10.244.1.3');
      return {
        sameNode: { clientNetns: a, serverNetns: b, address: '10.244.1.3', httpPort: Port.HTTP },
        forwarders: [relay.pid!],
        notes: [],
      };
    },
    async down(): Promise<void> {
      await end(relay);
      removeNetwork(names);
    },
  };
}
