/** What a capture shows of a packet that a policy denied: its line, and its comments in a file. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import { commentsOf } from '../../../../src/observe/capture/describe.ts';
import { packetLine } from '../../../../src/observe/capture/line.ts';
import type { CapturedPacket } from '../../../../src/observe/capture/packet.ts';
import { Names } from '../../../../src/observe/trace/names.ts';
import { frame } from '../../../lib/frames/frame-text.ts';

const bytes = frame('tcp 10.244.1.2:4000 > 10.244.1.3:80 S');
const packet: CapturedPacket = {
  ...{ node: 'n1', worker: 0, port: 3, point: 'received', verdict: Verdict.POLICY_INGRESS, number: 7 },
  ...{ seconds: 1, nanoseconds: 0, bytes, originalBytes: bytes.length, checksumPending: false },
  ...{ segmentBytes: 0, lostBefore: 0, deniedBy: 'shop/web (no rule allows it)' },
};
const port = { name: 'n1/shop/client/eth0', description: '', address: '', pod: undefined };

test('the line names the rule after the verdict', () => {
  assert.match(packetLine(packet, port), / \[policy-ingress by shop\/web \(no rule allows it\)\]$/);
  const { deniedBy: _, ...unknown } = packet;
  assert.match(packetLine(unknown, port), / \[policy-ingress\]$/);
});

test('the comment of the verdict has the rule in a line of its own', () => {
  const [comment = ''] = commentsOf(packet, port, new Names());
  const [verdict, policy, source] = comment.split('\n');
  assert.match(verdict!, /^Verdict: policy-ingress: /);
  assert.is(policy, 'Policy: shop/web (no rule allows it)');
  assert.match(source!, /^Source: /);
});

test.run();
