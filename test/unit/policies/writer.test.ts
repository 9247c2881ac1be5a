/** Images that are changed in place hold the contents (native-free-dataplane/policies/writer.ts, image.ts). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type {
  DecidingRule,
  Decisions,
  GroupRow,
  PairRow,
  PodRow,
} from '../../../native-free-dataplane/policies/contents.ts';
import { decisionFor, findPod } from '../../../native-free-dataplane/policies/lookup.ts';
import { countRule, readRule } from '../../../native-free-dataplane/policies/rules.ts';
import {
  ANY_POD,
  activeImage,
  createPolicies,
  Effect,
  effectOf,
  imageAt,
  PodSlot,
  type PolicyTable,
  policyBytes,
  ruleOf,
  UNDECIDED,
} from '../../../native-free-dataplane/policies/table.ts';
import { PolicyWriter } from '../../../native-free-dataplane/policies/writer.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const newTable = (halfWords: number): PolicyTable => {
  const options = { halfWords, maxRules: 64, secret: Int32Array.of(1, 2, 3, 4) };
  return createPolicies(new ArrayBuffer(policyBytes(options)), options);
};

const rule = (key: string): DecidingRule => ({
  key,
  policies: key,
  name: '',
  index: 1,
  tier: 'namespaced',
  direction: 'ingress',
});
const decisions = (key: string, ranges = 1): Decisions => ({
  firsts: Array.from({ length: ranges }, (_, i) => i * 100),
  rules: Array.from({ length: ranges }, () => rule(key)),
  effects: Array.from({ length: ranges }, (_, i) => (i === 0 ? Effect.DENY : Effect.ALLOW)),
});
const podRow = (n: number, identity: number): PodRow => ({
  address: Int32Array.of(0, 0, 0xffff, n),
  identity,
  ingress: 2,
  egress: 0,
});
const DNS = undefined;

/** A group whose pairs are appended, as the compiler does it. */
class TestGroup implements GroupRow {
  readonly number: number;
  readonly pairs: PairRow[] = [];
  constructor(number: number) {
    this.number = number;
  }
}

function check(
  table: PolicyTable,
  pods: readonly PodRow[],
  gone: readonly PodRow[],
  groups: readonly TestGroup[],
): void {
  const image = imageAt(table, activeImage(table));
  for (const { address, identity } of pods) {
    const at = findPod(table, image, address);
    assert.is(table.words[at + PodSlot.IDENTITY], identity);
  }
  for (const { address } of gone) assert.is(findPod(table, image, address), -1);
  for (const { number, pairs } of groups) {
    for (const { identity, decisions: expected } of pairs) {
      const decided = decisionFor(table, image, number, identity, ANY_POD, 50);
      assert.is(effectOf(decided), Effect.DENY);
      assert.is(readRule(table, ruleOf(decided))?.policies, expected.rules[0]!.policies);
    }
    assert.is(decisionFor(table, image, number, 999_999, ANY_POD, 50), UNDECIDED);
  }
}

test('pods and groups that come, change and go, in any order', () => {
  const random = seededRandom(5).below;
  const table = newTable(8192);
  const writer = new PolicyWriter(table);
  let pods: PodRow[] = [];
  let gone: PodRow[] = [];
  let groups: TestGroup[] = [];
  let numbers = 2;
  for (let turn = 0; turn < 400; turn++) {
    for (let i = random(4); i > 0; i--) {
      const n = random(120);
      const known = pods.findIndex(({ address }) => address[3] === n);
      if (known < 0) pods = [...pods, podRow(n, 3 + random(9))];
      else if (random(2) === 0) pods = pods.with(known, podRow(n, 3 + random(9)));
      else pods = pods.filter((_, at) => at !== known);
    }
    if (random(3) === 0) groups = groups.filter(() => random(8) > 0);
    if (random(2) === 0) {
      groups.push(new TestGroup(numbers));
      numbers += 2;
    }
    for (const group of groups) {
      if (random(4) > 0 || group.pairs.length > 12) continue;
      group.pairs.push({ identity: 3 + group.pairs.length, decisions: decisions(`rule ${random(20)}`, 1 + random(4)) });
    }
    writer.write({ pods, intervals: [], groups, dns: DNS });
    gone = Array.from({ length: 120 }, (_, n) => podRow(n, 0)).filter(
      ({ address }) => !pods.some((one) => one.address[3] === address[3]),
    );
    check(table, pods, gone, groups);
  }
});

test('an image that becomes too full is laid out again, until it fits no more; then what is in force stays', () => {
  const table = newTable(1024);
  const writer = new PolicyWriter(table);
  const pods: PodRow[] = [];
  let refused = 0;
  for (let n = 0; n < 80 && refused === 0; n++) {
    pods.push(podRow(n, 3));
    try {
      writer.write({ pods, intervals: [], groups: [], dns: DNS });
    } catch (error) {
      assert.instance(error, RangeError);
      refused = n;
    }
  }
  assert.ok(refused > 20, `${refused} pods`);
  check(table, pods.slice(0, refused), [podRow(refused, 0)], []);
  writer.write({ pods: pods.slice(0, 5), intervals: [], groups: [], dns: DNS });
  check(table, pods.slice(0, 5), pods.slice(5), []);
});

test('a rule keeps its counter while one of its groups is replaced by another', () => {
  const table = newTable(4096);
  const writer = new PolicyWriter(table);
  const group = (number: number, key: string) => {
    const made = new TestGroup(number);
    made.pairs.push({ identity: 3, decisions: decisions(key) });
    return made;
  };
  const numberOf = (number: number) =>
    ruleOf(decisionFor(table, imageAt(table, activeImage(table)), number, 3, ANY_POD, 0));
  const put = (...groups: TestGroup[]) => writer.write({ pods: [], intervals: [], groups, dns: DNS });
  put(group(2, 'kept'));
  const first = numberOf(2);
  countRule(table, first);
  for (let number = 4; number < 20; number += 2) {
    put(group(number, 'kept'));
    assert.is(numberOf(number), first);
    assert.is(readRule(table, first)?.count, 1);
  }
  for (let i = 0; i < 4; i++) put(group(30 + 2 * i, 'other'));
  assert.is(readRule(table, first), undefined, 'no image refers to it');
});

test.run();
