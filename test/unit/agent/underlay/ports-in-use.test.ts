/** The lists of ports that masqueraded connections must not get, and of ports of the node's sockets. */
import { mock } from 'node:test';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PortsInUse } from '../../../../src/agent/underlay/ports-in-use.ts';
import { TestNode } from '../../../lib/test-node.ts';

const PERIOD_MS = 2000;

const inUse = ({ conntrack }: TestNode): number[] => portsIn(conntrack.hostPorts);

function portsIn(bits: Int32Array): number[] {
  return [...bits].flatMap((word, at) =>
    Array.from({ length: 32 }, (_, bit) => at * 32 + bit).filter((port) => (word >>> (port & 31)) & 1),
  );
}

test.before.each(() => mock.timers.enable({ apis: ['setTimeout'] }));
test.after.each(() => mock.timers.reset());

test("ports of the node's sockets and host ports of pods are in the list as long as they exist", () => {
  const n = new TestNode();
  const loopback = new Set([631]);
  let open = new Set([22, 40000]);
  let hostPorts = [8081];
  const read = () => ({ open, loopback });
  const part = new PortsInUse({ table: n.conntrack, hostPorts: () => hostPorts, log: () => {}, read });
  part.start();
  assert.equal(inUse(n), [22, 8081, 40000]);
  assert.equal(portsIn(n.conntrack.socketPorts), [22, 631, 40000]);
  open = new Set([22]);
  hostPorts = [8082];
  mock.timers.tick(PERIOD_MS);
  assert.equal(inUse(n), [22, 8082]);
  assert.equal(portsIn(n.conntrack.socketPorts), [22, 631]);
  part.close();
});

test('while the sockets cannot be read, the previous list remains, one line is logged, and reading continues', () => {
  const n = new TestNode();
  const lines: string[] = [];
  let fails = false;
  let rounds = 0;
  const read = () => {
    rounds++;
    if (fails) throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
    return { open: new Set([40000 + rounds]), loopback: new Set<number>() };
  };
  const part = new PortsInUse({ table: n.conntrack, hostPorts: () => [], log: (line) => lines.push(line), read });
  part.start();
  fails = true;
  for (let i = 0; i < 3; i++) mock.timers.tick(PERIOD_MS);
  assert.is(rounds, 4);
  assert.equal(inUse(n), [40001]);
  assert.is(lines.length, 1);
  assert.match(lines[0] ?? '', /EMFILE/);
  fails = false;
  mock.timers.tick(PERIOD_MS);
  assert.equal(inUse(n), [40005]);
  part.close();
  mock.timers.tick(10 * PERIOD_MS);
  assert.is(rounds, 5, 'closed');
});

test.run();
