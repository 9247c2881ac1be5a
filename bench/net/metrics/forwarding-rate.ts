/** The rate of the forwarder alone: trafgen sends the same 64-byte UDP frame as fast as it can, with no socket on either side.
 * The receiving pod's device counts frames and drops them before the IP stack. */
import { Port, SMALL_PAYLOAD_BYTES, type TestNetwork } from '../contenders/contender.ts';
import { coresBetween, readCpu } from '../lib/cpu.ts';
import { firstHop, receivedBy } from '../lib/links.ts';
import { inside } from '../lib/netns.ts';
import { finish, onCleanUp, run, sleep } from '../lib/processes.ts';
import type { Metric, PathName } from './metric.ts';

const SOURCE_PORT = 40_000;
const TABLE = 'dpb-drop';
/** Options that keep trafgen from changing the machine's socket limits and interrupts. */
const KEEP = ['--no-sock-mem', '--notouch-irq'];
/** trafgen compiles its frame before it sends. */
const START_SECONDS = 0.3;

export function forwardingRate(name: string, where: string, pathName: PathName): Metric {
  const what = `64-byte frames by trafgen, ${where}`;
  return {
    name,
    needs: ['trafgen', 'nft', 'timeout', 'ping'],
    figures: [
      { key: `${name}/kpps`, title: `${what}: forwarded`, unit: 'kpps', better: 'more' },
      { key: `${name}/sent`, title: `${what}: offered`, unit: 'kpps', better: 'more' },
      { key: `${name}/cores`, title: `${what}: forwarder's cores`, unit: 'cores', better: 'less' },
    ],
    async measure(network: TestNetwork, seconds: number) {
      const path = network[pathName];
      if (!path) return undefined;
      const hop = firstHop(path.clientNetns, path.address);
      const frame = [
        `eth(da=${hop.destinationMac}, sa=${hop.sourceMac})`,
        `ipv4(sa=${hop.source}, da=${path.address}, ttl=64, df)`,
        `udp(sp=${SOURCE_PORT}, dp=${Port.UDP})`,
        `fill(0, ${SMALL_PAYLOAD_BYTES})`,
      ];
      const words = ['trafgen', ...KEEP, '--qdisc-path', '--cpus', '1', '--dev', hop.device, `{ ${frame.join(', ')} }`];
      const limit = ['timeout', '-s', 'INT', '-k', '2', String(START_SECONDS + seconds)];
      const open = dropAtDevice(path.serverNetns);
      try {
        const running = finish(inside(path.clientNetns, ...limit, ...words), (seconds + 6) * 1000);
        await sleep(START_SECONDS * 1000);
        const [before, arrivedBefore] = [readCpu(network.forwarders), receivedBy(path.serverNetns)];
        const sender = await running;
        const [after, arrivedAfter] = [readCpu(network.forwarders), receivedBy(path.serverNetns)];
        const sent = /(\d+) packets outgoing/.exec(sender.stdout + sender.stderr);
        if (!sent) throw new Error(`trafgen: ${(sender.stderr || sender.stdout).trim().slice(-300)}`);
        if (arrivedAfter === arrivedBefore) throw new Error('no frame arrived');
        const sample: Record<string, number> = {
          [`${name}/kpps`]: (arrivedAfter - arrivedBefore) / (after.atMs - before.atMs),
          [`${name}/sent`]: Number(sent[1]) / (START_SECONDS + seconds) / 1000,
        };
        if (network.forwarders.length > 0) sample[`${name}/cores`] = coresBetween(before, after).process;
        return sample;
      } finally {
        open();
      }
    },
  };
}

/** Drops received frames other than ARP, after the device has counted them. Returns a function that stops this. */
function dropAtDevice(netns: string): () => void {
  const chain = ['chain c {', 'type filter hook ingress device eth0 priority 0', 'meta protocol ip drop', '}'];
  run(inside(netns, 'nft', '-f', '-'), [`table netdev ${TABLE} {`, ...chain, '}', ''].join('\n'));
  return onCleanUp(`table ${TABLE}`, () => run(inside(netns, 'nft', 'delete', 'table', 'netdev', TABLE)));
}
