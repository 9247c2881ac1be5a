/** The rate of resets and ICMP errors is limited for each sender by itself. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TestNode } from '../../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const FAR = '10.244.2.2';
const FAR_3 = '10.244.3.2';
const VIP = '10.96.0.10';
const BURST = 200;

const overlay = (number: number, inner: string): string =>
  `vxlan 172.18.0.1${number}:50000 > 172.18.0.11:4789 vni 1 (${inner})`;

const SENDERS: readonly (readonly [who: string, port: string, refused: (port: number) => string])[] = [
  ['a pod', 'a', (port) => `tcp ${A}:${port} > ${VIP}:80 S`],
  ['another pod', 'b', (port) => `tcp ${B}:${port} > ${VIP}:80 S`],
  ['another node', 'host', (port) => overlay(2, `udp ${FAR}:${port} > 10.244.1.99:53 len 9`)],
  ['a third node', 'host', (port) => overlay(3, `udp ${FAR_3}:${port} > 10.244.1.99:53 len 9`)],
  ['the outside', 'host', (port) => `tcp 203.0.113.9:${port} > 172.18.0.11:30080 S`],
];

for (const [who, from, flood] of SENDERS) {
  test(`${who} has used up its replies: all others still get theirs`, () => {
    const n = new TestNode().pod('a', A).pod('b', B).peer(2).peer(3);
    n.service(`tcp ${VIP}:80`, { endpoints: [], nodePort: 30080 });
    const answered = (port: string, text: string): boolean => {
      n.out.length = 0;
      n.receive(port, text);
      return n.out.length === 1;
    };
    for (let i = 0; i < BURST; i++) assert.ok(answered(from, flood(2000 + i)), `reply ${i}`);
    assert.not.ok(answered(from, flood(9000)));
    for (const [other, port, refused] of SENDERS) {
      if (other !== who) assert.ok(answered(port, refused(9000)), other);
    }
    n.nowMs += 1;
    assert.ok(answered(from, flood(9001)), 'one more each millisecond');
    assert.not.ok(answered(from, flood(9002)));
  });
}

test.run();
