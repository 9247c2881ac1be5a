import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type FlowText, printFlow } from '../../../native-free-dataplane/print/flow.ts';
import { printVerdict, printVerdictFully } from '../../../native-free-dataplane/print/verdict.ts';
import { Verdict } from '../../../native-free-dataplane/verdicts.ts';

const TCP: FlowText = {
  protocol: 6,
  state: 'ESTABLISHED',
  timeoutSeconds: 86399,
  original: { src: '10.244.1.2', srcPort: 4000, dst: '10.96.0.10', dstPort: 80 },
  reply: { src: '10.244.2.5', srcPort: 8080, dst: '10.244.1.2', dstPort: 4000 },
  packets: [5, 4],
  bytes: [420, 3200],
  status: ['SEEN_REPLY', 'ASSURED', 'DNAT'],
};

test('an established TCP connection, as conntrack -L prints it', () => {
  assert.is(
    printFlow(TCP),
    'tcp      6 86399 ESTABLISHED src=10.244.1.2 dst=10.96.0.10 sport=4000 dport=80 packets=5 bytes=420 ' +
      'src=10.244.2.5 dst=10.244.1.2 sport=8080 dport=4000 packets=4 bytes=3200 [ASSURED]',
  );
});

test('UDP without a reply', () => {
  const flow = {
    ...TCP,
    protocol: 17,
    state: '',
    timeoutSeconds: 29,
    packets: [1, 0],
    bytes: [60, 0],
    status: [],
  } as const;
  assert.is(
    printFlow(flow),
    'udp      17 29 src=10.244.1.2 dst=10.96.0.10 sport=4000 dport=80 packets=1 bytes=60 [UNREPLIED] ' +
      'src=10.244.2.5 dst=10.244.1.2 sport=8080 dport=4000 packets=0 bytes=0',
  );
});

test('a ping: type and identifier in place of the ports', () => {
  const flow = {
    ...TCP,
    protocol: 1,
    state: '',
    timeoutSeconds: 29,
    original: { src: '10.244.1.2', srcPort: 7, dst: '8.8.8.8', dstPort: 8 },
    reply: { src: '8.8.8.8', srcPort: 8, dst: '172.18.0.11', dstPort: 33000 },
    status: ['SEEN_REPLY'],
  };
  assert.is(
    printFlow(flow),
    'icmp     1 29 src=10.244.1.2 dst=8.8.8.8 type=8 code=0 id=7 packets=5 bytes=420 ' +
      'src=8.8.8.8 dst=172.18.0.11 type=0 code=0 id=33000 packets=4 bytes=3200',
  );
});

test('a protocol without ports or name', () => {
  const tuple = { src: '10.0.0.1', srcPort: 0, dst: '10.0.0.2', dstPort: 0 };
  const flow = { ...TCP, protocol: 253, state: '', timeoutSeconds: 600, original: tuple, reply: tuple };
  assert.match(printFlow(flow), /^unknown {2}253 600 src=10\.0\.0\.1 dst=10\.0\.0\.2 packets=5/);
});

test('verdicts have a name and a sentence; a number that is not used has only its number', () => {
  assert.is(printVerdict(Verdict.IPV4_CHECKSUM), 'ipv4-checksum: The IPv4 header checksum is wrong.');
  assert.is(
    printVerdictFully(Verdict.IPV4_CHECKSUM),
    'dropped  ipv4-checksum: The IPv4 header checksum is wrong. (RFC 1812 §5.2.2)',
  );
  for (const verdict of [-1, 127, 128, 1e9]) assert.is(printVerdict(verdict), `verdict-${verdict}`);
});

test.run();
