/** The rules that decide: which one the tables name, and their counters (native-free-dataplane/policies/rules.ts). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DecidingRule } from '../../../native-free-dataplane/policies/contents.ts';
import { judgeByTable, ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import { countRule, RuleNumbers, readRule, readRules } from '../../../native-free-dataplane/policies/rules.ts';
import { createPolicies, policyBytes } from '../../../native-free-dataplane/policies/table.ts';
import { PROTOCOL_TCP } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { A, B, natNode } from '../../lib/nat-node.ts';
import { policyPod, setPolicies } from '../../lib/policies/policy-node.ts';

const table = (maxRules: number) => {
  const options = { halfWords: 256, maxRules, secret: Int32Array.of(1, 2, 3, 4) };
  return createPolicies(new ArrayBuffer(policyBytes(options)), options);
};
const rule = (key: string, more: Partial<DecidingRule> = {}): DecidingRule => ({
  key,
  policies: `default/${key}`,
  name: '',
  index: 1,
  tier: 'namespaced',
  direction: 'ingress',
  ...more,
});

test('a rule is read as it was written, and counts', () => {
  const policies = table(8);
  const numbers = new RuleNumbers(policies);
  numbers.begin();
  const number = numbers.use(rule('a', { name: 'naïve – rule', tier: 'admin', direction: 'egress', index: 3 }));
  for (let i = 0; i < 5; i++) countRule(policies, number);
  const read = readRule(policies, number)!;
  assert.equal(
    { ...read },
    { number, policies: 'default/a', name: 'naïve – rule', index: 3, tier: 'admin', direction: 'egress', count: 5 },
  );
  assert.is(ruleText(read), 'ClusterNetworkPolicy default/a rule 3 "naïve – rule"');
  assert.is(readRule(policies, 0), undefined);
  assert.is(readRule(policies, 7), undefined);
  assert.is(readRule(policies, 8), undefined);
});

test('the count goes on beyond 32 bits', () => {
  const policies = table(2);
  const numbers = new RuleNumbers(policies);
  numbers.begin();
  const number = numbers.use(rule('a'));
  policies.words[policies.rulesAt + number * 128 + 6] = -2;
  for (let i = 0; i < 3; i++) countRule(policies, number);
  assert.is(readRule(policies, number)?.count, 2 ** 32 + 1);
});

test('a rule keeps its number and count while an image refers to it, and loses them one image later', () => {
  const policies = table(8);
  const numbers = new RuleNumbers(policies);
  const [a, moved] = [rule('a'), rule('a', { index: 2 })];
  numbers.begin();
  const number = numbers.use(a);
  countRule(policies, number);
  numbers.begin();
  assert.is(numbers.use(moved), number);
  assert.equal([readRule(policies, number)?.index, readRule(policies, number)?.count], [2, 1]);
  numbers.begin();
  numbers.release(a);
  numbers.begin();
  numbers.release(moved);
  assert.is.not(numbers.use(rule('b')), number, 'an image that refers to it may still be read');
  assert.is(readRule(policies, number)?.count, 1);
  numbers.begin();
  assert.is(readRule(policies, number), undefined);
  assert.is(numbers.use(rule('c')), number);
  assert.is(readRule(policies, number)?.count, 0);
});

test('a rule that is used again before the next image keeps its count', () => {
  const policies = table(8);
  const numbers = new RuleNumbers(policies);
  numbers.begin();
  const number = numbers.use(rule('a'));
  countRule(policies, number);
  numbers.release(rule('a'));
  assert.is(numbers.use(rule('a')), number);
  numbers.begin();
  assert.is(readRule(policies, number)?.count, 1);
});

test('rules that find no room have number 0, and names that are too long are shortened', () => {
  const policies = table(2);
  const numbers = new RuleNumbers(policies);
  numbers.begin();
  const number = numbers.use(rule('a', { policies: 'x'.repeat(1000) }));
  assert.is(numbers.use(rule('b')), 0);
  assert.match(readRule(policies, number)!.policies, /^x{200,}…$/);
});

test('the tables name the rule that allows or denies, in each direction', () => {
  const node = natNode();
  const server = { podSelector: { matchLabels: { app: 'server' } } };
  const client = { podSelector: { matchLabels: { app: 'client' } } };
  setPolicies(
    node,
    [policyPod(A, { app: 'client' }), policyPod(B, { app: 'server' })],
    [
      { ...server, policyTypes: ['Ingress'] },
      {
        ...server,
        ingress: [
          { from: [client], ports: [{ port: 81 }] },
          { from: [client], ports: [{ port: 80 }] },
        ],
      },
    ],
  );
  const judge = (port: number) =>
    judgeByTable(node.policies, { source: addressWords(A), target: addressWords(B), protocol: PROTOCOL_TCP, port });
  const allowed = judge(80);
  assert.is(allowed.verdict, 'allowed');
  assert.is(allowed.egress.rule, undefined);
  assert.is(ruleText(allowed.ingress.rule!), 'default/p1 rule 2');
  const denied = judge(82);
  assert.is(denied.verdict, 'policy-ingress');
  assert.is(ruleText(denied.deniedBy!), 'default/p0, default/p1 (no rule allows it)');
});

test('each first packet counts for the rules that decide about it, a packet of an established connection for none', () => {
  const node = natNode();
  const server = { podSelector: { matchLabels: { app: 'server' } } };
  setPolicies(
    node,
    [policyPod(A, { app: 'client' }), policyPod(B, { app: 'server' })],
    [{ ...server, ingress: [{ ports: [{ port: 80 }] }] }],
  );
  const toB = { dstMac: '0a:58:0a:f4:01:03' };
  const toA = { dstMac: '0a:58:0a:f4:01:02' };
  const counts = () => Object.fromEntries(readRules(node.policies).map((one) => [ruleText(one), one.count]));
  assert.is(node.receive('a', `tcp ${A}:4000 > ${B}:80 S seq 1`, toB), 'forwarded');
  assert.is(node.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 5 ack 2`, toA), 'forwarded');
  assert.is(node.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 2 ack 6`, toB), 'forwarded');
  assert.equal(counts(), { 'default/p0 rule 1': 1, 'default/p0 (no rule allows it)': 0 });
  for (let i = 0; i < 3; i++) node.receive('a', `tcp ${A}:4001 > ${B}:81 S seq 1`, toB);
  assert.equal(counts(), { 'default/p0 rule 1': 1, 'default/p0 (no rule allows it)': 3 });
});

test.run();
