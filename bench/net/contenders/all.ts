/** Every contender, in the order in which they are printed. A new one is a module with `up` and `down`, and a line here. */
import type { Contender } from './contender.ts';
import { dataplane } from './dataplane.ts';
import { kernelBridge, kernelIptables, kernelNftables } from './kernel.ts';
import { openVswitchPlain, openVswitchTso } from './open-vswitch.ts';
import { cRelay } from './relay.ts';

export function allContenders(): Contender[] {
  return [
    kernelBridge(),
    kernelIptables(),
    kernelNftables(),
    openVswitchPlain(),
    openVswitchTso(),
    cRelay(),
    dataplane(),
    // As on kernels without super-packets in tunnels (before 6.17), and without UDP super-packets too (before 6.2).
    dataplane({ name: 'older-6.2', options: ['--offloads', 'udp'] }),
    dataplane({ name: 'older-5.10', options: ['--offloads', 'tcp'] }),
  ];
}
