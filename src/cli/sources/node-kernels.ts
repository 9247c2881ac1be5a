/** The kernels of this machine's nodes, read for `trace` and `why`: their devices and other programs' firewall rules. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { HOST_DEVICE } from '../../agent/underlay/rule-order.ts';
import { NFT_TABLE } from '../../agent/underlay/shortcut.ts';
import { networkNamespaceOf } from '../../cluster/network-namespaces.ts';
import { readClusterFile } from '../../cluster/state.ts';
import { LIST_RULESET } from '../../linux/nft-ruleset.ts';
import { readFirewall } from '../../observe/trace/node-firewall.ts';
import { type LossAt, lossAtKernels, type NodeKernel } from '../../observe/trace/node-kernel.ts';

const run = promisify(execFile);
const MAX_BYTES = 64 << 20;

/** Where the nodes' kernels lose frames. What cannot be read is left out. */
export async function readLosses(): Promise<LossAt> {
  const kernels = new Map<string, NodeKernel>();
  await Promise.all(
    (readClusterFile()?.nodes ?? []).map(async ({ name, ip }) => {
      const path = networkNamespaceOf({ kind: 'node', name });
      const kernel = path && (await readKernel(path, ip).catch(() => undefined));
      if (kernel) kernels.set(name, kernel);
    }),
  );
  return lossAtKernels(kernels, HOST_DEVICE);
}

interface Device {
  readonly ifname: string;
  readonly flags?: readonly string[];
  readonly addr_info?: readonly { readonly local?: string }[];
}

async function readKernel(path: string, ip: string): Promise<NodeKernel> {
  const inNode = async (...command: string[]): Promise<string> =>
    (await run('nsenter', [`--net=${path}`, ...command], { maxBuffer: MAX_BYTES })).stdout;
  const [nft, list] = LIST_RULESET;
  const [addresses, ruleset] = await Promise.all([
    inNode('ip', '-j', '-4', 'address', 'show'),
    inNode(nft, ...list).catch(() => '{"nftables":[]}'),
  ]);
  const devices = JSON.parse(addresses || '[]') as readonly Device[];
  const device = devices.find(({ addr_info }) => addr_info?.some(({ local }) => local === ip));
  return {
    device: device && { name: device.ifname, isUp: device.flags?.includes('LOWER_UP') === true },
    chains: readFirewall(ruleset, NFT_TABLE),
    hasShortcut: /"fwd"/.test(ruleset),
  };
}
