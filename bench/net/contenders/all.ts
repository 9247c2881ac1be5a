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
  ];
}
