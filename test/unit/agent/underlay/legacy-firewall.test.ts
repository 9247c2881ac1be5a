/** What the rules of iptables-legacy ask of a node: the same accepts as in nftables, and a name for what they cannot precede. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readLegacy } from '../../../../src/agent/underlay/legacy-firewall.ts';

const save = (table: string, ...rules: string[]) =>
  `# Generated\n*${table}\n${rules.join('\n')}\nCOMMIT\n# Completed\n`;
const filter = (forward: string, input: string, ...rules: string[]) =>
  save('filter', `:INPUT ${input} [3:252]`, `:FORWARD ${forward} [0:0]`, ':OUTPUT ACCEPT [0:0]', ...rules);

const FORWARD = ['-I FORWARD -i dp0 -j ACCEPT', '-I FORWARD -o dp0 -j ACCEPT'];
const INPUT = ['udp', 'tcp'].map(
  (protocol) => `-I INPUT -d 172.18.0.11/32 -i dp0 -p ${protocol} -m ${protocol} --dport 10053 -j ACCEPT`,
);
const accepts = (saved: string, nameServer?: string) =>
  readLegacy(saved, nameServer).accepts.map((one) => one.join(' '));

test('a policy of DROP gets accepts in its chain', () => {
  assert.equal(accepts(filter('DROP', 'ACCEPT')), FORWARD);
  assert.equal(accepts(filter('ACCEPT', 'DROP'), '172.18.0.11'), INPUT);
  assert.equal(accepts(filter('ACCEPT', 'DROP')), [], 'without a name server of the node');
});

test('so does a table with any rule that drops, and one where nobody drops is left alone', () => {
  for (const verdict of ['DROP', 'REJECT --reject-with icmp-port-unreachable', 'NFQUEUE --queue-num 0']) {
    assert.equal(accepts(filter('ACCEPT', 'ACCEPT', `-A FORWARD -j ${verdict}`)), FORWARD, verdict);
  }
  assert.equal(accepts(filter('ACCEPT', 'ACCEPT', '-A FORWARD -j ACCEPT'), '172.18.0.11'), []);
});

test('what is there is not inserted again, and is taken away at the end', () => {
  const saved = filter('DROP', 'ACCEPT', '-A FORWARD -o dp0 -j ACCEPT', '-A FORWARD -i dp0 -p tcp -j ACCEPT');
  const { accepts, withdrawals } = readLegacy(saved);
  assert.equal(
    accepts.map((one) => one.join(' ')),
    FORWARD.slice(0, 1),
  );
  assert.equal(withdrawals, [['-D', 'FORWARD', '-o', 'dp0', '-j', 'ACCEPT']]);
});

test('a rule that drops all of dp0 before any accept of ours is named; one in FORWARD is preceded', () => {
  const raw = save('raw', ':PREROUTING ACCEPT [0:0]', '-A PREROUTING -i dp0 -j DROP');
  assert.is(readLegacy(raw).obstacle, 'iptables-legacy, table raw: -A PREROUTING -i dp0 -j DROP');
  assert.is(readLegacy(filter('ACCEPT', 'ACCEPT', '-A FORWARD -i dp0 -j DROP')).obstacle, undefined);
  assert.is(readLegacy(filter('ACCEPT', 'ACCEPT', '-A INPUT -i dp0 -p tcp -j DROP')).obstacle, undefined);
});

test.run();
