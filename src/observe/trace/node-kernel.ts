/** What the kernels of nodes do to frames between the data planes, other than forward them: where a frame is lost. */
import { droppingRule, type FirewallChain, type KernelPacket } from './node-firewall.ts';

/** The network of a node's kernel, as far as frames between nodes depend on it. */
export interface NodeKernel {
  /** The device with the node's address; undefined: none has it. */
  readonly device: { readonly name: string; readonly isUp: boolean } | undefined;
  /** Chains of other programs. */
  readonly chains: readonly FirewallChain[];
  /** Frames between the wire and dp0 pass only the device's own hooks (src/agent/underlay/shortcut.ts). */
  readonly hasShortcut: boolean;
}

/** From the wire to the data plane, from there to the wire, or from the node's own programs to the data plane. */
export type Way = 'in' | 'out' | 'own';

/** Why a frame does not come through; undefined if it does, or if nothing is known. */
export type LossAt = (
  node: string,
  way: Way,
  packet: Omit<KernelPacket, 'inDevice' | 'outDevice'>,
) => string | undefined;

/** The priority of our own chains at devices: those after them do not see what they forward. */
const SHORTCUT_PRIORITY = 0;

/** @param dp0 name of the data plane's device */
export function lossAtKernels(kernels: ReadonlyMap<string, NodeKernel>, dp0: string): LossAt {
  return (node, way, packet) => {
    const kernel = kernels.get(node);
    if (kernel === undefined) return undefined;
    const { device, chains, hasShortcut } = kernel;
    if (device === undefined) return `no device of node ${node} has its address`;
    if (way !== 'own' && !device.isUp) return `${device.name} of node ${node} is down`;
    const inDevice = way === 'in' ? device.name : way === 'out' ? dp0 : undefined;
    const outDevice = way === 'out' ? device.name : way === 'own' ? dp0 : undefined;
    const sees = ({ family, hook, priority, device: of }: FirewallChain): boolean => {
      if (family === 'netdev') {
        const at = hook === 'egress' ? outDevice : inDevice;
        return (
          at !== undefined && (of === undefined || of === at) && (hook === 'egress' || priority <= SHORTCUT_PRIORITY)
        );
      }
      if (family !== 'ip' && family !== 'inet') return false;
      if (way === 'own') return hook === 'output' || hook === 'postrouting';
      return (
        !hasShortcut && (hook === 'prerouting' || (way === 'out' && (hook === 'forward' || hook === 'postrouting')))
      );
    };
    const rule = droppingRule(chains, { ...packet, inDevice, outDevice }, sees);
    return rule === undefined ? undefined : `the firewall of node ${node} drops it: ${rule}`;
  };
}
