/** 64-byte frames (18 bytes of UDP payload, 4 of frame check sequence) received per second. One sender sends as fast as it can,
 * which on a small machine is faster than any contender forwards, so only received frames count. */
import { Port, SMALL_PAYLOAD_BYTES, type TestNetwork } from '../contenders/contender.ts';
import { coresBetween, readCpu } from '../lib/cpu.ts';
import { receivedBy } from '../lib/links.ts';
import { inside } from '../lib/netns.ts';
import { background, end, finish } from '../lib/processes.ts';
import { compiled } from '../lib/tools.ts';
import type { Metric, PathName } from './metric.ts';

export function smallDatagrams(name: string, where: string, pathName: PathName): Metric {
  const what = `64-byte UDP delivered, ${where}`;
  return {
    name,
    needs: ['gcc'],
    figures: [
      { key: `${name}/kpps`, title: what, unit: 'kpps', better: 'more' },
      { key: `${name}/forwarded`, title: `${what}: reached the pod's device`, unit: 'kpps', better: 'more' },
      { key: `${name}/sent`, title: `${what}: offered by the sender`, unit: 'kpps', better: 'more' },
      { key: `${name}/cores`, title: `${what}: forwarder's cores`, unit: 'cores', better: 'less' },
    ],
    async measure(network: TestNetwork, seconds: number) {
      const path = network[pathName];
      if (!path) return undefined;
      const traffic = compiled('traffic');
      const receive = inside(path.serverNetns, traffic, 'udp-receive', String(Port.UDP), String(seconds));
      const receiver = await background(receive, /ready/);
      let said = '';
      receiver.stdout!.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      const ended = new Promise<void>((resolve) => receiver.once('close', () => resolve()));
      const [before, arrivedBefore] = [readCpu(network.forwarders), receivedBy(path.serverNetns)];
      const words = ['udp-send', path.address, Port.UDP, seconds + 0.4, SMALL_PAYLOAD_BYTES].map(String);
      const sender = await finish(inside(path.clientNetns, traffic, ...words), (seconds + 5) * 1000);
      const after = readCpu(network.forwarders);
      const cores = coresBetween(before, after);
      const arrived = receivedBy(path.serverNetns) - arrivedBefore;
      const late = setTimeout(() => void end(receiver, 'SIGKILL'), 2000);
      await ended;
      clearTimeout(late);
      const received = /received (\d+)/.exec(said);
      const sent = /sent (\d+)/.exec(sender.stdout);
      if (!received || !sent) throw new Error(`no datagram arrived ${sender.stderr}`.trim());
      const sample: Record<string, number> = {
        [`${name}/kpps`]: Number(received[1]) / seconds / 1000,
        // The receiving program may be slower than the forwarder.
        [`${name}/forwarded`]: arrived / (after.atMs - before.atMs),
        [`${name}/sent`]: Number(sent[1]) / (seconds + 0.4) / 1000,
      };
      if (network.forwarders.length > 0) sample[`${name}/cores`] = cores.process;
      return sample;
    },
  };
}
