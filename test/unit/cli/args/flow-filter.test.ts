/** Hubble's filters on the command line. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import { parseCommandLine } from '../../../../src/cli/args/args.ts';
import {
  FLOW_FILTER_OPTIONS,
  mayBeConnections,
  mayBeMessages,
  nodesThatMayPass,
  readFlowFilters,
} from '../../../../src/cli/args/flow-filter.ts';
import { pointInTime } from '../../../../src/cli/args/point-in-time.ts';
import { CliError, Exit } from '../../../../src/cli/errors.ts';
import {
  DNS_ANSWER,
  DROPPED_SYN,
  dropOf,
  HTTP_REQUEST,
  maker,
  messageOf,
  TIME,
  TO_OUTSIDE,
  TO_WEB,
} from '../../../lib/flows.ts';

const parsed = (...argv: string[]) => parseCommandLine('observe', { options: FLOW_FILTER_OPTIONS }, argv);
const filters = (...argv: string[]) => readFlowFilters(parsed(...argv));

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
  ['--drop-reason-desc STALE_OR_UNROUTABLE_IP', []],
  ['-4', ['request', 'reply']],
  ['-6', []],
  ['--not --ipv4', ['drop']],
  ['-A --pod web', ['request', 'reply']],
  ['--all-namespaces --to-service web', ['request']],
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
    '--protocol kafka',
    '--verdict AUDIT',
    '--tcp-flags syn,x',
    '--type agent',
    '--type trace:nowhere',
    '--namespace A',
    '--pod a --not',
    '--traffic-direction up',
    '--drop-reason-desc policy-egres',
    '--drop-reason-desc nonsense',
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

const [answer] = made.of(messageOf('n1', DNS_ANSWER), TIME);
const [request] = made.of(messageOf('n2', HTTP_REQUEST), TIME);
const [outside] = made.of({ node: 'n1', kind: 'NEW', flow: TO_OUTSIDE }, TIME);

test('filters of messages, names, identities and translated addresses', () => {
  const passed = (...argv: string[]) => [answer, request, outside].map((flow) => filters(...argv).passes(flow!));
  assert.equal(passed('--type', 'l7'), [true, true, false]);
  assert.equal(passed('--protocol', 'dns', '--protocol', 'http'), [true, true, false]);
  assert.equal(passed('--http-method', 'get', '--http-path', '^/cart$'), [false, true, false]);
  assert.equal(passed('--to-fqdn', '*.example.com'), [false, false, true]);
  assert.equal(passed('--fqdn', 'WWW.example.com.'), [false, false, true]);
  assert.equal(passed('--from-fqdn', 'www.example.com'), [false, false, false]);
  assert.equal(passed('--to-identity', 'world'), [false, false, true]);
  assert.equal(passed('--snat-ip', '172.18.0.0/24'), [false, false, true]);
  assert.equal(passed('--ip-version', '6'), [false, false, false]);
  assert.equal(passed('--uuid', answer!.uuid), [true, false, false]);
  assert.equal(passed('--allowlist', '{"protocol":["dns"]}', '--allowlist', '{"http_method":["GET"]}'), [
    true,
    true,
    false,
  ]);
  assert.equal(passed('--denylist', '{"eventType":[{"type":129}]}'), [false, false, true]);
  for (const wrong of [
    ['--http-status', '99'],
    ['--http-path', '('],
    ['--fqdn', 'a b'],
    ['--identity', 'nobody'],
    ['--allowlist', '{"colour":[]}'],
    ['--allowlist', '[]x'],
  ]) {
    assert.throws(
      () => filters(...wrong),
      (error: unknown) => error instanceof CliError && error.status === Exit.USAGE,
      wrong.join(' '),
    );
  }
});

test('messages are looked for unless no filter can let one through', () => {
  const wanted = (line: string) => mayBeMessages(parsed(...line.split(' ').filter(Boolean)));
  for (const line of [
    '',
    '--type l7',
    '--protocol dns',
    '--pod client',
    '--not --type trace',
    '--fqdn a --type trace',
  ]) {
    assert.ok(wanted(line), line);
  }
  for (const line of [
    '--type trace',
    '--verdict DROPPED',
    '--protocol icmp',
    '--tcp-flags syn',
    '--drop-reason-desc X',
  ]) {
    assert.not(wanted(line), line);
  }
});

test('connections are followed unless no filter can let one through, and only at nodes that can pass', () => {
  const wanted = (line: string) => mayBeConnections(parsed(...line.split(' ').filter(Boolean)));
  for (const line of [
    '',
    '--pod client',
    '--type trace:to-overlay',
    '-t policy-verdict',
    '--not --type trace',
    '--verdict forwarded',
  ]) {
    assert.ok(wanted(line), line);
  }
  for (const line of ['--verdict DROPPED', '--type drop', '--type l7', '--drop-reason-desc POLICY_DENIED']) {
    assert.not(wanted(line), line);
  }
  const nodes = (...argv: string[]) => nodesThatMayPass(parsed(...argv), ['n1', 'n2', 'm1']);
  assert.equal(nodes(), ['n1', 'n2', 'm1']);
  assert.equal(nodes('--node-name', 'n*'), ['n1', 'n2']);
  assert.equal(nodes('--node-name', 'n2', '--node-name', 'm1'), ['n2', 'm1']);
  assert.equal(nodes('--not', '--node-name', 'n2'), ['n1', 'n2', 'm1'], 'the filter itself leaves it out');
  assert.equal(nodes('--node-name', 'x'), ['n1', 'n2', 'm1']);
  assert.equal(nodes('--node-name', 'n2', '--allowlist', '{"protocol":["dns"]}'), ['n1', 'n2', 'm1']);
});

test.run();
