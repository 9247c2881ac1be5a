/** The ring of packets that did not arrive: what a record contains, and what a reader loses. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { addUnseenDrop } from '../../../native-free-dataplane/drops/ring.ts';
import type { DropText } from '../../../native-free-dataplane/print/drop.ts';
import { DROP_SLOTS } from '../../../native-free-dataplane/shared/counters.ts';
import { isFailure, VERDICTS, Verdict, verdictName, verdictNamed } from '../../../native-free-dataplane/verdicts.ts';
import { Write } from '../../../src/devices/port.ts';
import { DropReader, denyingRule } from '../../../src/observe/drops/reader.ts';
import { PortEmitter } from '../../../src/worker/port-emitter.ts';
import { A, B, natNode } from '../../lib/nat-node.ts';
import { policyPod, setPolicies } from '../../lib/policies/policy-node.ts';
import type { TestNode } from '../../lib/test-node.ts';
import { nodeOf, VERDICT_PACKETS } from '../../lib/verdict-packets.ts';

const test = suite('drops');
const SERVICE = '10.96.0.10';

/** What `work` adds to the node's ring. */
function dropsOf(n: TestNode, work: () => void): DropText[] {
  const reader = new DropReader(n.counters);
  work();
  const found: DropText[] = [];
  assert.is(
    reader.read((drop) => found.push(drop)),
    0,
  );
  return found;
}

test('every packet that does not arrive leaves one record with its verdict, and no other packet leaves any', () => {
  for (const packet of VERDICT_PACKETS) {
    const n = nodeOf(packet);
    const failed = isFailure(VERDICTS[verdictNamed(packet.verdict)]!);
    assert.equal(
      dropsOf(n, () => packet.send(n)).map(({ verdict }) => verdictName(verdict)),
      failed ? [packet.verdict] : [],
      packet.verdict,
    );
  }
});

test('a packet that is refused is recorded as it came, not as the reply that takes its place', () => {
  const n = natNode().service(`tcp ${SERVICE}:80`, { endpoints: [] });
  const [drop] = dropsOf(n, () => n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 S`));
  assert.is(drop?.verdict, Verdict.REJECTED_TCP_RESET);
  assert.is(drop?.inPort, n.portOf('a'));
  assert.is(drop?.timeMs, n.nowMs);
  assert.equal(drop?.packet, {
    protocol: 6,
    src: A,
    srcPort: 4000,
    dst: SERVICE,
    dstPort: 80,
    tcpFlags: 2,
    icmpType: 0,
    icmpCode: 0,
    rule: 0,
    endpoint: undefined,
    reply: undefined,
  });
});

test('where no reply is permitted, the record has the verdict that is counted', () => {
  const n = natNode().service(`tcp ${SERVICE}:80`, { endpoints: [] });
  const drops = dropsOf(n, () => {
    n.dataplane.replyTokens.fill(0);
    n.dataplane.replyFilledMs.fill(n.nowMs);
    n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 S`);
  });
  assert.equal(
    drops.map(({ verdict }) => verdictName(verdict)),
    ['no-endpoint-silent'],
  );
});

test('a policy that denies a connection to a Service: the record has the endpoint, for the first packet and for later ones', () => {
  const n = natNode().service(`tcp ${SERVICE}:80`, { endpoints: [`${B}:8080`] });
  const pods = [policyPod(A, { app: 'a' }), policyPod(B, { app: 'b' })];
  const isolate = { podSelector: { matchLabels: { app: 'b' } } };
  const syn = `tcp ${A}:4000 > ${SERVICE}:80 S`;
  setPolicies(n, pods, [isolate]);
  const [first] = dropsOf(n, () => n.receive('a', syn));
  assert.is(first?.verdict, Verdict.POLICY_INGRESS);
  assert.equal(first?.packet?.endpoint, { ip: B, port: 8080 });
  assert.is(first?.packet?.reply, undefined);

  setPolicies(n, pods, []);
  n.receive('a', syn);
  setPolicies(n, pods, [isolate]);
  const [again, answer] = dropsOf(n, () => {
    n.receive('a', syn);
    n.receive('b', `tcp ${B}:8080 > ${A}:4000 SA`);
  });
  assert.is(again?.verdict, Verdict.POLICY_INGRESS);
  assert.equal(again?.packet?.endpoint, { ip: B, port: 8080 });
  assert.is(again?.packet?.reply, false);
  assert.is(answer?.packet?.reply, true);
  assert.is(answer?.packet?.src, B);
  // The first has the rule that denied it; those of a closed connection, in either direction, the one that denies it now.
  for (const drop of [first, again, answer]) {
    const rule = denyingRule(n.policies, drop!);
    assert.is(rule?.policies, 'default/p0');
    assert.is(rule?.index, 0, 'no rule allows it');
  }
});

test('a frame that was dropped before its addresses were read has none, whatever the packet before it had', () => {
  const n = natNode();
  n.receive('a', `tcp ${A}:4000 > ${B}:80 S`);
  const [drop] = dropsOf(n, () => n.receiveBytes('a', new Uint8Array(10)));
  assert.is(drop?.verdict, Verdict.FRAME_TRUNCATED);
  assert.is(drop?.packet, undefined);
});

test('a frame that the device did not accept has the port that it was sent to', () => {
  const emitter = new PortEmitter();
  const n = natNode({ emitter });
  emitter.dataplane = n.dataplane;
  emitter.ports[n.portOf('b')] = { index: 2, fd: -1, lastBatch: 0, read: () => 0, write: () => Write.FULL };
  const [drop] = dropsOf(n, () => assert.is(n.receive('a', `udp ${A}:4000 > ${B}:80`), 'forwarded'));
  assert.is(drop?.verdict, Verdict.WRITE_QUEUE_FULL);
  assert.is(drop?.lostAt, n.portOf('b'));
  assert.is(drop?.packet?.dst, B);
});

test('a reader that is too slow counts what it has lost, and goes on with newer records', () => {
  const n = natNode();
  const [ring] = n.counters.drops;
  const reader = new DropReader(n.counters);
  const total = 3 * DROP_SLOTS;
  for (let i = 0; i < total; i++) addUnseenDrop(ring!, Verdict.PING_UNANSWERED, i);
  const times: number[] = [];
  const lost = reader.read(({ timeMs }) => times.push(timeMs));
  assert.ok(times.length >= DROP_SLOTS >> 1 && times.length <= DROP_SLOTS, `${times.length} are read`);
  assert.is(lost + times.length, total);
  assert.is(times.at(-1), total - 1);
  assert.is(
    reader.read(() => assert.unreachable('nothing is new')),
    0,
  );
});

test('beyond its limit a reader skips what there is, and counts it', () => {
  const n = natNode();
  const reader = new DropReader(n.counters);
  for (let i = 0; i < 10; i++) addUnseenDrop(n.counters.drops[0]!, Verdict.PING_UNANSWERED, i);
  const times: number[] = [];
  assert.is(
    reader.read(({ timeMs }) => times.push(timeMs), 4),
    6,
  );
  assert.equal(times, [0, 1, 2, 3]);
});

test('records from before a reader came are there until newer ones replace them', () => {
  const n = natNode();
  for (let i = 0; i < 5; i++) addUnseenDrop(n.counters.drops[0]!, Verdict.PING_UNANSWERED, i);
  assert.equal(
    new DropReader(n.counters).past().map(({ timeMs }) => timeMs),
    [0, 1, 2, 3, 4],
  );
});

test.run();
