/** Hubble's filters on the command line. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import { parseCommandLine } from '../../../../src/cli/args/args.ts';
import { FLOW_FILTER_OPTIONS, readFlowFilters } from '../../../../src/cli/args/flow-filter.ts';
import { pointInTime } from '../../../../src/cli/args/point-in-time.ts';
import { CliError, Exit } from '../../../../src/cli/errors.ts';
import { DROPPED_SYN, dropOf, maker, TIME, TO_WEB } from '../../../lib/flows.ts';

const filters = (...argv: string[]) =>
  readFlowFilters(parseCommandLine('observe', { options: FLOW_FILTER_OPTIONS }, argv));

const made = maker();
const synAck = { ...TO_WEB, state: 'SYN_RECV', status: ['SEEN_REPLY', 'CONFIRMED', 'DST_NAT'] };
const FLOWS = {
  request: made.of({ node: 'n1', kind: 'NEW', flow: TO_WEB }, TIME)[0]!,
  reply: made.of({ node: 'n1', kind: 'UPDATE', flow: synAck }, TIME)[0]!,
  drop: made.of({ node: 'n2', kind: 'DROP', drop: dropOf(Verdict.POLICY_EGRESS) }, TIME)[0]!,
};
type Name = keyof typeof FLOWS;
const ALL: Name[] = ['request', 'reply', 'drop'];

test("--namespace is that of a pod: a Service's does not count, as with hubble", () => {
  const [refused] = made.of({ node: 'n1', kind: 'DROP', drop: dropOf(Verdict.REJECTED_TCP_RESET, DROPPED_SYN) }, TIME);
  assert.equal(refused?.destination_service?.namespace, 'shop');
  assert.not(filters('--namespace', 'shop').passes(refused!));
  assert.ok(filters('--to-service', 'shop/web').passes(refused!));
});

const CASES: readonly (readonly [line: string, passed: readonly Name[]])[] = [
  ['', ALL],
  ['--pod client', ['request', 'reply']],
  ['--from-pod client', ['request']],
  ['--to-pod client', ['reply']],
  ['--from-pod cli', ['request']],
  ['--from-pod shop/client', []],
  ['--pod web', []],
  ['--pod shop/web', ['request', 'reply']],
  ['--pod /web', ['request', 'reply']],
  ['--namespace shop --pod web', ['request', 'reply']],
  ['--namespace shop', ['request', 'reply']],
  ['--from-namespace shop', ['reply']],
  ['--to-service shop/web', ['request']],
  ['--service shop/we', ['request', 'reply']],
  ['--ip 10.244.2.0/24', ['request', 'reply']],
  ['--to-ip 10.244.2.2', ['request']],
  ['--port 8080', ['request', 'reply']],
  ['--from-port 8080', ['reply']],
  ['--port 80', []],
  ['--to-label app=web', ['request']],
  ['--label k8s:app', ['request', 'reply']],
  ['--label app=web,io.kubernetes.pod.namespace=default', []],
  ['--protocol tcp', ['request', 'reply']],
  ['--protocol udp --protocol tcp', ['request', 'reply']],
  ['--protocol udp', []],
  ['--verdict dropped', ['drop']],
  ['--verdict FORWARDED', ['request', 'reply']],
  ['--tcp-flags syn', ['request', 'reply']],
  ['--tcp-flags SYN,ACK', ['reply']],
  ['--type drop', ['drop']],
  ['-t trace:to-overlay', ['request']],
  ['--drop-reason-desc POLICY_DENIED', ['drop']],
  ['--drop-reason-desc policy-egress', ['drop']],
  ['--node-name n*', ALL],
  ['--node-name n2', ['drop']],
  ['--traffic-direction egress', ['request', 'drop']],
  // Different properties must all match; --not applies to the next filter only.
  ['--from-pod client --to-port 8080', ['request']],
  ['--from-pod client --to-port 8081', []],
  ['--not --verdict dropped', ['request', 'reply']],
  ['--not --from-pod client', ['reply', 'drop']],
  ['--not --tcp-flags syn,ack --pod client', ['request']],
  ['--pod client --not --pod client', []],
];

for (const [line, passed] of CASES) {
  test(`filters "${line}"`, () => {
    const filter = filters(...line.split(' ').filter(Boolean));
    assert.equal(
      ALL.filter((name) => filter.passes(FLOWS[name])),
      passed,
    );
  });
}

test('a value that no flow can have is a usage error', () => {
  for (const line of [
    '--ip x',
    '--port 0',
    '--protocol http',
    '--verdict AUDIT',
    '--tcp-flags syn,x',
    '--type l7',
    '--type trace:nowhere',
    '--namespace A',
    '--pod a --not',
    '--traffic-direction up',
  ]) {
    assert.throws(
      () => filters(...line.split(' ')),
      (error: unknown) => error instanceof CliError && error.status === Exit.USAGE,
      line,
    );
  }
});

test('a time is an age or RFC 3339', () => {
  const at = pointInTime(1_000_000_000_000);
  assert.is(at('90s', '--since'), 1_000_000_000_000 - 90_000);
  assert.is(at('1h30m', '--since'), 1_000_000_000_000 - 5_400_000);
  assert.is(at('2026-11-28T13:00:00Z', '--since'), Date.UTC(2026, 10, 28, 13));
  for (const text of ['', '90', 'yesterday', '1h 3m', '2026-11-28T13']) assert.throws(() => at(text, '--since'));
});

test.run();
