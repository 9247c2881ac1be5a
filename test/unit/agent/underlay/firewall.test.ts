/**
 * Changes to others' nftables chains: rules that accept dp0's packets in front of rules that drop, and nothing
 * elsewhere.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readRuleset } from '../../../../src/agent/underlay/firewall.ts';

const table = (family: string, name: string) => ({ table: { family, name } });
const forward = (policy: string, more: object = {}) => ({
  chain: { family: 'ip', table: 'filter', name: 'FORWARD', type: 'filter', hook: 'forward', prio: 0, policy, ...more },
});
const rule = (expr: object[], handle = 5) => ({
  rule: { family: 'ip', table: 'filter', chain: 'FORWARD', handle, expr },
});
const device = (key: string, right = 'dp0') => ({ match: { op: '==', left: { meta: { key } }, right } });
const read = (...nftables: object[]) => readRuleset(JSON.stringify({ nftables: [{ metainfo: {} }, ...nftables] }));

const BOTH = [
  'insert rule ip filter FORWARD iifname "dp0" counter accept',
  'insert rule ip filter FORWARD oifname "dp0" counter accept',
];

test('a forward chain whose policy is drop gets both accept rules', () => {
  assert.equal(read(table('ip', 'filter'), forward('drop')).accepts, BOTH);
});

test('a forward chain whose table has a rule that drops or rejects gets both accept rules', () => {
  for (const verdict of [{ drop: null }, { reject: { type: 'icmp' } }]) {
    assert.equal(read(forward('accept'), rule([verdict])).accepts, BOTH);
  }
});

test('a chain whose table never drops gets no rule', () => {
  assert.equal(read(forward('accept'), rule([{ accept: null }])).accepts, []);
});

const NAME_SERVER = '172.18.0.11';
const input = { name: 'INPUT', hook: 'input' };

test('an input chain that drops gets accepts for the node’s own name server, whose pods have no other', () => {
  const text = JSON.stringify({ nftables: [{ metainfo: {} }, forward('drop', input)] });
  assert.equal(readRuleset(text, NAME_SERVER).accepts, [
    'insert rule ip filter INPUT iifname "dp0" ip daddr 172.18.0.11 udp dport 10053 counter accept',
    'insert rule ip filter INPUT iifname "dp0" ip daddr 172.18.0.11 tcp dport 10053 counter accept',
  ]);
  const payload = (protocol: string, field: string, right: string | number) => ({
    match: { op: '==', left: { payload: { protocol, field } }, right },
  });
  const there = ['udp', 'tcp'].map((protocol) => ({
    rule: {
      ...rule([]).rule,
      chain: 'INPUT',
      expr: [
        device('iifname'),
        payload('ip', 'daddr', NAME_SERVER),
        payload(protocol, 'dport', 10053),
        { accept: null },
      ],
    },
  }));
  const again = JSON.stringify({ nftables: [forward('drop', input), ...there] });
  const { accepts, withdrawals } = readRuleset(again, NAME_SERVER);
  assert.equal(accepts, []);
  assert.is(withdrawals.length, 2);
});

test('a rule that drops all of dp0 where no accept can precede it is named', () => {
  const drop = (chain: string, expr: object[]) => ({ rule: { ...rule(expr).rule, chain } });
  const pre = forward('accept', { name: 'pre', hook: 'prerouting' });
  assert.is(
    read(pre, drop('pre', [device('iifname'), { counter: { packets: 1, bytes: 2 } }, { drop: null }])).obstacle,
    'ip filter pre drops all packets of dp0',
  );
  assert.is(read(pre, drop('pre', [device('iifname', 'eth0'), { drop: null }])).obstacle, undefined);
  const some = { match: { op: '==', left: { meta: { key: 'l4proto' } }, right: 'sctp' } };
  assert.is(read(pre, drop('pre', [device('iifname'), some, { drop: null }])).obstacle, undefined);
  assert.is(read(forward('accept'), drop('FORWARD', [device('iifname'), { drop: null }])).obstacle, undefined);
});

test('other hooks and families are left alone', () => {
  const others = [
    forward('drop', { hook: 'input' }),
    forward('drop', { family: 'ip6' }),
    forward('drop', { type: 'nat' }),
  ];
  assert.equal(read(...others).accepts, []);
});

test('existing accept rules are not inserted again and are found for removal; a user’s own rule about dp0 is not ours', () => {
  const mine = rule([device('iifname'), { counter: { packets: 1, bytes: 2 } }, { accept: null }], 7);
  const user = rule([device('oifname'), { match: { op: '==', left: {}, right: 1 } }, { accept: null }], 8);
  const { accepts, withdrawals } = read(forward('drop'), mine, user);
  assert.equal(accepts, [BOTH[1] as string]);
  assert.equal(withdrawals, ['delete rule ip filter FORWARD handle 7']);
});

test('our own tables are found', () => {
  assert.equal(read(table('ip', 'dataplane'), table('netdev', 'dataplane'), table('ip', 'nat')).ours, ['ip', 'netdev']);
});

test.run();
