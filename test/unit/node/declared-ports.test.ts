/** Declared ports: a set of (hop, protocol, port) of a fixed size. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNodeTable, nodeTableBytes } from '../../../native-free-dataplane/node/config.ts';
import { declarePort, portDeclared, undeclarePorts } from '../../../native-free-dataplane/node/declared-ports.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';

const SIZES = { maxHops: 8, routeSlots: 8, hostRouteSlots: 16, declaredSlots: 8 };
const SECRET = Int32Array.of(1, 2, 3, 4);

test('hop, protocol and port must all match a declared port', () => {
  const node = createNodeTable(new ArrayBuffer(nodeTableBytes(SIZES)), { ...SIZES, secret: SECRET });
  assert.ok(declarePort(node, 1, PROTOCOL_TCP, 80));
  assert.ok(portDeclared(node, 1, PROTOCOL_TCP, 80));
  assert.not.ok(portDeclared(node, 2, PROTOCOL_TCP, 80));
  assert.not.ok(portDeclared(node, 1, PROTOCOL_UDP, 80));
  assert.not.ok(portDeclared(node, 1, PROTOCOL_TCP, 81));
});

test("a full table refuses another port and changes nothing; removing a hop's ports makes room", () => {
  const node = createNodeTable(new ArrayBuffer(nodeTableBytes(SIZES)), { ...SIZES, secret: SECRET });
  for (let i = 0; i < 8; i++) assert.ok(declarePort(node, 1 + (i & 1), PROTOCOL_TCP, 1000 + i));
  const before = node.words.slice();
  assert.not.ok(declarePort(node, 3, PROTOCOL_TCP, 80));
  assert.equal(node.words, before);
  assert.ok(declarePort(node, 1, PROTOCOL_TCP, 1000), 'declared already');
  undeclarePorts(node, 1);
  assert.not.ok(portDeclared(node, 1, PROTOCOL_TCP, 1000));
  assert.ok(portDeclared(node, 2, PROTOCOL_TCP, 1001));
  assert.ok(declarePort(node, 3, PROTOCOL_TCP, 80));
});

test.run();
