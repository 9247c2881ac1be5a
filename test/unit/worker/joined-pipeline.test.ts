import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInThisContext } from 'node:vm';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { attachDataplane, type Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import * as modules from '../../../native-free-dataplane/pipeline.ts';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { joinedPipeline, joinModules } from '../../../src/worker/joined-pipeline.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { loadFrame } from '../../lib/frames/load-frame.ts';
import { seededRandom } from '../../lib/seeded-random.ts';
import { TestNode } from '../../lib/test-node.ts';

const test = suite('joined pipeline');

/** What a pipeline makes of frames: each one's verdict and what was sent. */
function story(pipeline: typeof modules, frames: readonly [port: string, bytes: Uint8Array][]): string[] {
  const node = new TestNode().pod('a', '10.244.1.2').pod('b', '10.244.1.3').peer(2);
  node.service('tcp 10.96.0.10:80', { endpoints: ['10.244.1.3:8080', '10.244.2.2:8080'], nodePort: 30080 });
  node.service('udp 10.96.0.10:53', { endpoints: ['10.244.1.3:53'], affinitySeconds: 60 });
  const told: string[] = [];
  const dp: Dataplane = attachDataplane(
    {
      conntrack: node.conntrack.words.buffer as ArrayBuffer,
      services: node.services.words.buffer as ArrayBuffer,
      routes: node.node.words.buffer as ArrayBuffer,
      counters: node.counters.words.buffer as ArrayBuffer,
      fragments: node.dataplane.fragments.words.buffer as ArrayBuffer,
    },
    0,
    { emit: (pkt) => told.push(`${pkt.outPort}: ${printBytes(pkt.bytes.slice(pkt.start, pkt.end))}`) },
    { tunnelOffload: true, udpSegmentation: true },
    7,
  );
  let nowMs = 1000;
  for (const [port, bytes] of frames) {
    loadFrame(node.pkt, bytes, node.portOf(port));
    told.push(verdictName(pipeline.processFrame(node.pkt, dp, nowMs)));
    nowMs += 10;
    pipeline.tick(dp, nowMs);
  }
  return told;
}

test('does what the modules do', () => {
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
  // And all of them with bytes turned over.
  const random = seededRandom(4);
  for (let round = 0; round < 300; round++) {
    const [port, bytes] = frames[round % texts.length]!;
    const broken = bytes.slice();
    broken[random.below(broken.length)]! ^= 1 << random.below(8);
    frames.push([port, broken]);
  }
  const told = story(modules, frames);
  assert.ok(new Set(told).size > 40, 'the frames have many different fates');
  assert.equal(story(joinedPipeline(), frames), told);
});

/** A folder with these modules. */
function withModules(files: Record<string, string>, run: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'joined-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('names of different modules do not meet, and each module runs once', () => {
  const files = {
    'entry.js':
      "import { a } from './a.js';\nimport { b as other } from './b.js';\nexport const sum = a() + other();\n",
    'a.js': "import { next } from './c.js';\nconst own = 1;\nexport function a() {\n    return own + next();\n}\n",
    'b.js': "import { next } from './c.js';\nconst own = 10;\nexport function b() {\n    return own + next();\n}\n",
    'c.js': 'let count = 100;\nexport function next() {\n    return count++;\n}\n',
  };
  withModules(files, (folder) => {
    assert.equal(runInThisContext(joinModules(join(folder, 'entry.js'))).sum, 1 + 100 + 10 + 101);
  });
});

test('says so when it does not know a form', () => {
  for (const text of [
    'export default 1;',
    "import x from './x.js';",
    "export * from './x.js';",
    'const a = import.meta.url;',
  ]) {
    withModules({ 'entry.js': `${text}\n`, 'x.js': '' }, (folder) => {
      assert.throws(() => joinModules(join(folder, 'entry.js')), /entry\.js: /);
    });
  }
  const circle = { 'entry.js': "import { a } from './a.js';\n", 'a.js': "import { b } from './entry.js';\n" };
  withModules(circle, (folder) => {
    assert.throws(() => joinModules(join(folder, 'entry.js')), /imports itself/);
  });
});

test.run();
