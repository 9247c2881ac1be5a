import * as bundled from 'dataplane/pipeline';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { attachDataplane, type Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import * as modules from '../../../native-free-dataplane/pipeline.ts';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { loadFrame } from '../../lib/frames/load-frame.ts';
import { seededRandom } from '../../lib/seeded-random.ts';
import { TestNode } from '../../lib/test-node.ts';

const test = suite('bundled pipeline');

/** What a pipeline does with frames: the verdict of each and what was sent. */
function story(
  pipeline: Pick<typeof modules, 'processFrame' | 'tick'>,
  frames: readonly [port: string, bytes: Uint8Array][],
): string[] {
  const node = new TestNode().pod('a', '10.244.1.2').pod('b', '10.244.1.3').peer(2);
  node.service('tcp 10.96.0.10:80', { endpoints: ['10.244.1.3:8080', '10.244.2.2:8080'], nodePort: 30080 });
  node.service('udp 10.96.0.10:53', { endpoints: ['10.244.1.3:53'], affinitySeconds: 60 });
  const done: string[] = [];
  const dp: Dataplane = attachDataplane(
    {
      conntrack: node.conntrack.words.buffer as ArrayBuffer,
      services: node.services.words.buffer as ArrayBuffer,
      routes: node.node.words.buffer as ArrayBuffer,
      counters: node.counters.words.buffer as ArrayBuffer,
      fragments: node.dataplane.fragments.words.buffer as ArrayBuffer,
      policies: node.policies.words.buffer as ArrayBuffer,
    },
    0,
    { emit: (pkt) => done.push(`${pkt.outPort}: ${printBytes(pkt.bytes.slice(pkt.start, pkt.end))}`) },
    { tunnelOffload: true, udpSegmentation: true },
    7,
  );
  let nowMs = 1000;
  for (const [port, bytes] of frames) {
    loadFrame(node.pkt, bytes, node.portOf(port));
    done.push(verdictName(pipeline.processFrame(node.pkt, dp, nowMs)));
    nowMs += 10;
    pipeline.tick(dp, nowMs);
  }
  return done;
}

test('the bundled pipeline behaves like the modules', () => {
  const gateway = { dstMac: '0a:58:0a:f4:01:01' };
  const texts: [string, string][] = [
    ['a', 'arp who-has 10.244.1.1 tell 10.244.1.2'],
    ['a', 'tcp 10.244.1.2:4000 > 10.96.0.10:80 S seq 5 <mss 1460, wscale 7>'],
    ['a', 'tcp 10.244.1.2:4001 > 10.96.0.10:80 S seq 5 <mss 1460, wscale 7>'],
    ['a', 'tcp 10.244.1.2:4002 > 10.96.0.10:81 S seq 5'],
    ['a', 'udp 10.244.1.2:4000 > 10.96.0.10:53 len 31'],
    ['b', 'udp 10.244.1.3:53 > 10.244.1.2:4000 len 60'],
    ['a', 'udp 10.244.1.2:4000 > 10.244.2.2:53 len 31'],
    ['a', 'icmp 10.244.1.2 > 10.244.1.1 echo-request id 7 seq 1 len 56'],
    ['a', 'udp 10.244.1.2 > 10.244.2.2 len 100 frag id 7 offset 1480'],
    ['host', 'tcp 172.18.0.100:5000 > 172.18.0.11:30080 S seq 1'],
  ];
  const frames = texts.map(([port, text]): [string, Uint8Array] => {
    const macs = port === 'host' ? { ...gateway, srcMac: '02:00:00:00:00:09' } : gateway;
    return [port, frame(text, macs)];
  });
  // The same frames with one bit flipped.
  const random = seededRandom(4);
  for (let round = 0; round < 300; round++) {
    const [port, bytes] = frames[round % texts.length]!;
    const broken = bytes.slice();
    broken[random.below(broken.length)]! ^= 1 << random.below(8);
    frames.push([port, broken]);
  }
  const expected = story(modules, frames);
  assert.ok(new Set(expected).size > 40, 'the frames end in many different ways');
  assert.equal(story(bundled, frames), expected);
});

test.run();
