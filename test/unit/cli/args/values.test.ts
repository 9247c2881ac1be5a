import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseWords } from '../../../../src/cli/args/args.ts';
import {
  CLUSTER_OPTIONS,
  checkClusterOptions,
  readClusterOptions,
  underlayMtuFor,
} from '../../../../src/cli/args/cluster-args.ts';
import { ipv4Cidr, mtuBytes, oneOf, portRange, seconds, wholeNumber } from '../../../../src/cli/args/values.ts';
import { planNodes, roomForNodes } from '../../../../src/cli/world.ts';

const test = suite('values of options');

test('whole numbers are exactly that, and within bounds', () => {
  const read = wholeNumber(1, 16);
  assert.is(read('16', '--n'), 16);
  for (const text of ['0', '17', '1.5', '-1', '1e1', '0x1', '', ' 1']) {
    assert.throws(
      () => read(text, '--n'),
      (error: Error) => error.message.startsWith(`--n ${text}: expected`),
    );
  }
});

test('the MTU says what leaving it out means', () => {
  assert.throws(() => mtuBytes('1279', '--mtu'), /--mtu 1279: expected whole bytes from 1280 .*: leave it out/);
});

test('choices are listed', () => {
  assert.throws(() => oneOf('a', 'b', 'c')('d', '--x'), '--x d: expected a, b or c');
});

test('a network loses its host bits; IPv6 and bare addresses are refused', () => {
  assert.is(ipv4Cidr('10.1.2.3/16', '--c'), '10.1.0.0/16');
  assert.throws(() => ipv4Cidr('fd00::/64', '--c'), 'expected an IPv4 network');
  assert.throws(() => ipv4Cidr('10.1.2.3', '--c'), 'expected an IPv4 network');
});

test('a range of ports has the lower one first', () => {
  assert.equal(portRange('30000-30010', '--r'), [30000, 30010]);
  for (const text of ['2-1', '0-5', '1-65536', '5', '1-2-3'])
    assert.throws(() => portRange(text, '--r'), 'expected two ports');
});

test('seconds may have a unit', () => {
  assert.is(seconds('90', '--t'), 90);
  assert.is(seconds('2m', '--t'), 120);
  assert.is(seconds('0.5', '--t'), 0.5);
  assert.throws(() => seconds('soon', '--t'), 'expected seconds');
});

const options = (...argv: string[]) => readClusterOptions(parseWords('up', { options: CLUSTER_OPTIONS }, argv));

test('cluster options: what is said over the defaults', () => {
  const read = options(
    '--overlay',
    'host-gw',
    '--pod-cidr',
    '10.7.0.0/16',
    '--port-policy',
    'declared',
    '--local-policy-action',
    'drop',
  );
  assert.is(read.overlay, 'host-gw');
  assert.is(read.localPolicyAction, 'drop');
  assert.is(read.podCidr, '10.7.0.0/16');
  assert.is(read.portPolicy, 'declared');
  assert.is(read.vxlanPort, 4789);
});

test('networks that overlap are refused in the words of the command line', async () => {
  try {
    await checkClusterOptions(options('--pod-cidr', '10.100.0.0/16'));
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, '--pod-cidr 10.100.0.0/16 and --service-cidr 10.96.0.0/12 overlap');
  }
});

test('a VXLAN port among the NodePorts is refused', async () => {
  try {
    await checkClusterOptions(options('--vxlan-port', '31000'));
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'lies among the NodePorts');
  }
});

test("the underlay's MTU makes room for the pods' and the overlay's header", () => {
  assert.is(underlayMtuFor(options()), 1500);
  assert.is(underlayMtuFor(options('--mtu', '1400')), 1500);
  assert.is(underlayMtuFor(options('--mtu', '8950')), 9000);
  assert.is(underlayMtuFor(options('--mtu', '8950', '--overlay', 'host-gw')), 8950);
});

test('nodes get the i-th /24 and the address 10 + i on the underlay', () => {
  assert.equal(planNodes(2, '10.244.0.0/16', '172.18.0.0/24'), [
    { name: 'n1', ip: '172.18.0.11', podCIDR: '10.244.1.0/24' },
    { name: 'n2', ip: '172.18.0.12', podCIDR: '10.244.2.0/24' },
  ]);
  assert.equal(planNodes(1, '10.9.8.0/24', '172.18.0.0/24')[0]!.podCIDR, '10.9.8.0/24');
});

test('room for nodes: one less than the /24s of the network, 200 at most', () => {
  assert.is(roomForNodes('10.0.0.0/22'), 3);
  assert.is(roomForNodes('10.0.0.0/24'), 1);
  assert.is(roomForNodes('10.0.0.0/16'), 200);
});

test.run();
