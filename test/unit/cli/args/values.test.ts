import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseCommandLine } from '../../../../src/cli/args/args.ts';
import { CLUSTER_OPTIONS, checkClusterOptions, readClusterOptions } from '../../../../src/cli/args/cluster-args.ts';
import { ipv4Cidr, mtuBytes, oneOf, portRange, seconds, wholeNumber } from '../../../../src/cli/args/values.ts';

const test = suite('values of options');

test('whole numbers must be digits only, and within the bounds', () => {
  const read = wholeNumber(1, 16);
  assert.is(read('16', '--n'), 16);
  for (const text of ['0', '17', '1.5', '-1', '1e1', '0x1', '', ' 1']) {
    assert.throws(
      () => read(text, '--n'),
      (error: Error) => error.message.startsWith(`--n ${text}: expected`),
    );
  }
});

test('an error for the MTU contains the default', () => {
  assert.throws(() => mtuBytes('1279', '--mtu'), /--mtu 1279: expected whole bytes from 1280 .*: leave it out/);
});

test('an error for an unknown keyword lists the choices', () => {
  assert.throws(() => oneOf('a', 'b', 'c')('d', '--x'), '--x d: expected a, b or c');
});

test('host bits of a network are cleared; IPv6 and plain addresses are refused', () => {
  assert.is(ipv4Cidr('10.1.2.3/16', '--c'), '10.1.0.0/16');
  assert.throws(() => ipv4Cidr('fd00::/64', '--c'), 'expected an IPv4 network');
  assert.throws(() => ipv4Cidr('10.1.2.3', '--c'), 'expected an IPv4 network');
});

test('a port range must have the lower port first', () => {
  assert.equal(portRange('30000-30010', '--r'), [30000, 30010]);
  for (const text of ['2-1', '0-5', '1-65536', '5', '1-2-3'])
    assert.throws(() => portRange(text, '--r'), 'expected two ports');
});

test('seconds can have a unit', () => {
  assert.is(seconds('90', '--t'), 90);
  assert.is(seconds('2m', '--t'), 120);
  assert.is(seconds('0.5', '--t'), 0.5);
  for (const text of ['soon', '0', '-5', '']) {
    assert.throws(() => seconds(text, '--t'), `--t ${text}: expected more than 0 seconds`);
  }
});

const options = (...argv: string[]) => readClusterOptions(parseCommandLine('up', { options: CLUSTER_OPTIONS }, argv));

test('cluster options: given values override the defaults', () => {
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

test('overlapping networks are refused with the names of the command-line options', async () => {
  try {
    await checkClusterOptions(options('--pod-cidr', '10.100.0.0/16'));
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, '--pod-cidr 10.100.0.0/16 and --service-cidr 10.96.0.0/12 overlap');
  }
});

test('a VXLAN port in the NodePort range is refused', async () => {
  try {
    await checkClusterOptions(options('--vxlan-port', '31000'));
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'is one of the NodePorts');
  }
});

test.run();
