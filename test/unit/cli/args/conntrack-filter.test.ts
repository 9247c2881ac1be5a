import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { FlowText } from '../../../../native-free-dataplane/print/flow.ts';
import { parseCommandLine } from '../../../../src/cli/args/args.ts';
import { FILTER_OPTIONS, readFilter } from '../../../../src/cli/args/conntrack-filter.ts';

const test = suite('filters of conntrack');

const flow: FlowText = {
  protocol: 6,
  state: 'ESTABLISHED',
  timeoutSeconds: 100,
  original: { src: '172.18.0.1', srcPort: 4000, dst: '172.18.0.11', dstPort: 31418 },
  reply: { src: '10.244.1.2', srcPort: 80, dst: '10.244.1.1', dstPort: 40000 },
  packets: [3, 2],
  bytes: [300, 200],
  status: ['SEEN_REPLY', 'ASSURED', 'CONFIRMED', 'SRC_NAT', 'DST_NAT'],
};

const passes = (...argv: string[]) =>
  readFilter(parseCommandLine('conntrack', { options: FILTER_OPTIONS }, argv))(flow);

test('without filters every connection matches', () => assert.ok(passes()));

for (const [args, expected] of [
  ['-p tcp', true],
  ['-p udp', false],
  ['-p 6', true],
  ['-s 172.18.0.1', true],
  ['-s 172.18.0.0/24', true],
  ['-s 10.0.0.0/8', false],
  ['-d 172.18.0.11 --dport 31418', true],
  ['--orig-port-dst 31419', false],
  ['--sport 4000', true],
  ['-r 10.244.1.2 --reply-port-src 80', true],
  ['-q 10.244.1.9', false],
  ['--state established', true],
  ['--state CLOSE', false],
  ['--dst-nat --src-nat', true],
  ['-u UNREPLIED', false],
  ['-u ASSURED,DST_NAT', true],
] as const) {
  test(`${args}: ${expected}`, () => assert.is(passes(...args.split(' ')), expected));
}

test('invalid filter values are refused', () => {
  for (const args of ['-p quic', '-p 256', '-s 10.0.0', '--state OPEN', '-u GOOD', '--dport 0']) {
    assert.throws(() => passes(...args.split(' ')), /expected/);
  }
});

test.run();
