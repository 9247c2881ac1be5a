/** The walk of a packet as the page draws it: its bytes before and after each step, and what changed in them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compareFrames } from '../../../src/ui/bytes.ts';
import { PlaygroundCluster } from '../../../src/ui/playground/cluster.ts';
import { LESSON } from '../../../src/ui/playground/lesson.ts';
import { readManifests } from '../../../src/ui/playground/manifests.ts';
import type { WalkNode, WalkStep, WalkView } from '../../../src/ui/protocol.ts';
import { readWalkRequest } from '../../../src/ui/walk-request.ts';
import { processTraced } from '../../lib/traced-build.ts';

const test = suite('walks on the page');

/** The lesson's steps from the first on, as somebody clicks them. */
function lesson(): WalkView[] {
  const cluster = new PlaygroundCluster(processTraced);
  return LESSON.map(({ manifests, packet }) => {
    if (manifests !== undefined) {
      const { objects, mistakes } = readManifests(manifests);
      assert.equal(mistakes, []);
      cluster.apply(objects);
    }
    return cluster.send(packet!);
  });
}
const walks = lesson();
const stepOf = (node: WalkNode, stage: string): WalkStep => {
  const found = node.steps.find((step) => step.stage === stage);
  assert.ok(found, `${stage} of ${node.steps.map((step) => step.stage).join(', ')}`);
  return found!;
};

test('every step of the lesson shows what its text describes', () => {
  const ends = walks.map(({ to, nodes }) => `${nodes.map(({ verdict }) => verdict)[0]} ${to}`.trim());
  assert.equal(ends, [
    'encapsulated pod default/mc3',
    'encapsulated pod default/mc3',
    'encapsulated pod default/mc3',
    'encapsulated pod default/mc3',
    'encapsulated pod default/mc3',
    'encapsulated pod default/mc3',
    'policy-ingress',
    'rejected-tcp-reset',
  ]);
  LESSON.forEach(({ look, title }, i) => {
    const node = walks[i]!.nodes.find((one) => one.node === look!.node)!;
    assert.ok(
      node.steps.some(({ stage }) => stage === look!.stage),
      title.en,
    );
  });
});

test('the second packet of a connection finds its record, and asks no Service', () => {
  const [node] = walks[4]!.nodes;
  assert.match(stepOf(node!, 'flow').text.join(' '), /record \d+: .*tcp/);
  assert.not.ok(node!.steps.some(({ stage }) => stage === 'service' || stage === 'connect'));
});

test('from outside by NodePort: both addresses are translated', () => {
  const { changes } = stepOf(walks[5]!.nodes[0]!, 'translate');
  assert.equal(
    changes.map(({ field }) => field),
    ['src', 'dst', 'IP checksum', 'TCP checksum'],
  );
  assert.is(changes[1]!.before, '172.18.0.12:31418');
  assert.is(changes[1]!.after, '10.244.1.2:80');
});

test('DNAT: the bytes of the destination and the checksums change, and no others', () => {
  const { before, after } = stepOf(walks[3]!.nodes[0]!, 'translate');
  const changed = compareFrames(before, after).after.flatMap(({ name, fields }) =>
    fields.filter(({ mark }) => mark !== 'same').map((field) => `${name} ${field.name}`),
  );
  assert.equal(changed, ['ipv4 checksum', 'ipv4 destination', 'tcp checksum']);
});

test('VXLAN: four headers are added in front, and the packet inside is the same', () => {
  const { before, after } = stepOf(walks[1]!.nodes[0]!, 'send');
  const marks = compareFrames(before, after).after.map(
    ({ name, outer, mark }) => `${outer ? 'outer ' : ''}${name} ${mark}`,
  );
  assert.equal(marks.slice(0, 4), ['outer ethernet added', 'outer ipv4 added', 'outer udp added', 'outer vxlan added']);
  assert.equal(marks.slice(5), ['ipv4 same', 'tcp same']);
  const removed = stepOf(walks[1]!.nodes[1]!, 'decapsulate');
  const gone = compareFrames(removed.before, removed.after).before.filter(({ mark }) => mark === 'removed');
  assert.is(gone.length, 4);
});

test('a step that only reads has no frames; each node has the frame that it received', () => {
  for (const { nodes } of walks) {
    for (const { frame, steps } of nodes) {
      assert.ok(frame.length >= 2 * 34);
      for (const { before, after } of steps) assert.is(before === after, before === '');
    }
  }
});

test('a difference far behind in a payload is marked', () => {
  const frame = `${'0a580af402010a580af402020800'}450000640000400040110000${'0af402020af40102'}${'9c40003500500000'}`;
  const [one, other] = [`${frame}${'00'.repeat(72)}`, `${frame}${'00'.repeat(71)}01`];
  const { after } = compareFrames(one, other);
  assert.equal(
    after.filter(({ mark }) => mark === 'changed').map(({ name }) => name),
    ['payload'],
  );
});

test('what a browser asks for is checked: each mistake has its reason', () => {
  const fine = { from: '10.244.2.2', to: '10.96.1.0', protocol: 'tcp', port: 80 };
  assert.is(readWalkRequest(fine).to.port, '80');
  assert.is(readWalkRequest({ ...fine, protocol: 'icmp', port: 0 }).to.port, undefined);
  const mistakes: [object, RegExp][] = [
    [{ from: 'pod' }, /pod: expected an IPv4 address/],
    [{ from: 'node/../x' }, /expected an IPv4 address/],
    [{ to: '::1' }, /expected an IPv4 address/],
    [{ protocol: 'sctp' }, /expected tcp, udp or icmp/],
    [{ protocol: 'constructor' }, /expected tcp, udp or icmp/],
    [{ port: 0 }, /port 0: expected 1 to 65535/],
    [{ port: '80' }, /port 80: expected/],
    [{ srcPort: 1.5 }, /source port 1.5/],
    [{ flags: 'SX' }, /TCP flags SX/],
    [{ ttl: 65 }, /TTL 65/],
    [{ length: 9001 }, /length 9001/],
  ];
  for (const [change, reason] of mistakes) assert.throws(() => readWalkRequest({ ...fine, ...change }), reason);
  for (const value of [null, 1, 'x', []]) assert.throws(() => readWalkRequest(value));
});

test.run();
