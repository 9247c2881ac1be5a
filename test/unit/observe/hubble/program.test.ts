/** The hubble program (github.com/cilium/hubble, built outside this repository) beside `dataplane observe`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import type { NetworkPolicy } from '../../../../src/api/types/network-policy.ts';
import type { Flow } from '../../../../src/observe/hubble/flow.ts';
import { clientTest } from '../../../lib/client-program.ts';
import { dataplane, output, run } from '../../../lib/cluster.ts';
import {
  DNS_ANSWER,
  DNS_QUERY,
  DROPPED_SYN,
  dropOf,
  HTTP_REQUEST,
  HTTP_RESPONSE,
  maker,
  messageOf,
  NO_SUCH_NAME,
  TIME,
  TO_OUTSIDE,
  TO_WEB,
} from '../../../lib/flows.ts';

const test = suite('hubble');
const directory = mkdtempSync(join(tmpdir(), 'hubble-'));
const file = join(directory, 'flows.json');

const made = maker();
const udp = { ...TO_WEB, protocol: 17, state: '' };
const ping = {
  ...TO_WEB,
  protocol: 1,
  state: '',
  original: { src: '10.244.1.2', srcPort: 77, dst: '172.18.0.12', dstPort: 8 },
  reply: { src: '172.18.0.12', srcPort: 8, dst: '10.244.1.2', dstPort: 77 },
  status: ['CONFIRMED'],
};
const outside = {
  ...TO_WEB,
  original: { src: '172.18.0.1', srcPort: 5000, dst: '172.18.0.11', dstPort: 31418 },
  reply: { src: '10.244.2.2', srcPort: 8080, dst: '10.244.1.1', dstPort: 61000 },
};
const DENY = { metadata: { namespace: 'shop', name: 'deny-all' }, spec: { podSelector: {} } } as NetworkPolicy;
const TO_ENDPOINT = { ...DROPPED_SYN, endpoint: { ip: '10.244.2.2', port: 8080 } };
const denying = maker(DENY);
const allowing = maker({ ...DENY, spec: { podSelector: {}, ingress: [{ ports: [{ port: 8080 }] }] } });
const EVENTS: Parameters<typeof made.of>[0][] = [
  { node: 'n1', kind: 'NEW', flow: TO_WEB },
  { node: 'n1', kind: 'UPDATE', flow: { ...TO_WEB, state: 'SYN_RECV' } },
  { node: 'n2', kind: 'UPDATE', flow: { ...TO_WEB, state: 'FIN_WAIT' } },
  { node: 'n2', kind: 'DESTROY', flow: { ...TO_WEB, state: 'CLOSE' } },
  { node: 'n1', kind: 'NEW', flow: udp },
  { node: 'n1', kind: 'NEW', flow: ping },
  { node: 'n1', kind: 'NEW', flow: outside },
  { node: 'n2', kind: 'DROP', drop: dropOf(Verdict.TTL_EXCEEDED) },
  { node: 'n1', kind: 'DROP', drop: dropOf(Verdict.REJECTED_TCP_RESET, DROPPED_SYN) },
  ...[DNS_QUERY, DNS_ANSWER, NO_SUCH_NAME].map((seen) => messageOf('n1', seen)),
  ...[HTTP_REQUEST, HTTP_RESPONSE].map((seen) => messageOf('n2', seen)),
  { node: 'n1', kind: 'NEW', flow: TO_OUTSIDE },
];
const FLOWS: Flow[] = [
  ...EVENTS.flatMap((event) => made.of(event, TIME)),
  ...denying.of({ node: 'n1', kind: 'DROP', drop: dropOf(Verdict.POLICY_INGRESS, TO_ENDPOINT) }, TIME),
  ...allowing.of({ node: 'n2', kind: 'NEW', flow: TO_WEB }, TIME),
];

const FILTERS: readonly string[] = [
  '',
  '--pod client',
  '--from-pod client',
  '--to-pod shop/web',
  '--pod /web',
  '--namespace shop',
  '--namespace default --pod client',
  '--from-namespace shop',
  '--service shop/web',
  '--to-service shop/w',
  '--ip 10.244.1.0/24',
  '--to-ip 172.18.0.12',
  '--port 8080',
  '--from-port 40000 --from-port 5000',
  '--label app=web',
  '--from-label reserved:world',
  '--protocol tcp',
  '--protocol icmp',
  '--protocol udp --protocol tcp',
  '--verdict DROPPED',
  '--tcp-flags syn',
  '--tcp-flags syn,ack',
  '--type drop',
  '--type policy-verdict',
  '--type policy-verdict --print-policy-names',
  '--type trace:to-overlay',
  '--type l7',
  '--protocol dns',
  '--protocol http --protocol dns',
  '--http-method get',
  '--http-status 2+',
  '--http-status 404',
  '--http-path ^/cart$',
  '--http-url shop/cart',
  '--fqdn *.example.com',
  '--to-fqdn www.example.com',
  '--from-fqdn www.example.com',
  '--from-identity 2',
  '--ip-version 4',
  '--snat-ip 10.244.1.1',
  '--drop-reason-desc POLICY_DENIED',
  '--node-name n2',
  '--traffic-direction egress',
  '--not --pod client',
  '--pod client --not --protocol udp',
  '--not --tcp-flags syn,ack --not --verdict DROPPED',
];

test.before(() => {
  const lines = FLOWS.map((flow) => JSON.stringify({ flow, node_name: flow.node_name, time: flow.time }));
  writeFileSync(file, `${lines.join('\n')}\n`);
});

test.after(() => {
  rmSync(directory, { recursive: true });
});

const compare = async (program: string, given: readonly string[]): Promise<string> => {
  const args = ['observe', '--input-file', file, '--all', ...given];
  const own = await output(dataplane(args));
  assert.is(own.trimEnd(), (await output(run([program, ...args]))).trimEnd(), given.join(' '));
  return own;
};

clientTest(
  test,
  'HUBBLE',
  'every filter passes the flows that hubble passes, and prints its lines',
  async (program) => {
    for (const line of FILTERS) {
      const own = await compare(program, [...line.split(' ').filter(Boolean), '--print-node-name']);
      assert.is.not(own, '', `${line} passes something`);
    }
  },
);

clientTest(test, 'HUBBLE', 'table and dictionary are as of hubble', async (program) => {
  for (const format of ['table', 'dict']) {
    await compare(program, ['-o', format]);
    await compare(program, ['-o', format, '--print-node-name']);
  }
});

test.run();
