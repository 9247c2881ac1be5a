/** Hubble's observer service: by a client of our own, and by the hubble program (github.com/cilium/hubble, built elsewhere). */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import { FlowFilters } from '../../../../src/observe/hubble/filter.ts';
import type { Flow } from '../../../../src/observe/hubble/flow.ts';
import { FlowStore, MAX_FLOWS } from '../../../../src/observe/hubble/server/flow-store.ts';
import { flowResponse } from '../../../../src/observe/hubble/server/messages.ts';
import { ObserverServer } from '../../../../src/observe/hubble/server/observer.ts';
import { filterOfJson, requestFilters } from '../../../../src/observe/hubble/server/request-filter.ts';
import { codecOf } from '../../../../src/observe/hubble/server/schema.ts';
import { clientTest } from '../../../lib/client-program.ts';
import { dataplane, output, run } from '../../../lib/cluster.ts';
import {
  DNS_ANSWER,
  DROPPED_SYN,
  dropOf,
  HTTP_REQUEST,
  HTTP_RESPONSE,
  maker,
  messageOf,
  TO_WEB,
} from '../../../lib/flows.ts';

const test = suite('observer service');
const directory = mkdtempSync(join(tmpdir(), 'observer-'));
const socket = join(directory, 'hubble.sock');
const store = new FlowStore();
const NODES = [
  { name: 'n1', address: '172.18.0.11' },
  { name: 'n2', address: '172.18.0.12' },
];
const server = new ObserverServer({ store, version: '0.1.0', nodes: () => NODES });
let client: Client;

const startMs = Date.now() - 60_000;
const at = (second: number): string => new Date(startMs + second * 1000).toISOString();
const made = maker();
const FLOWS: Flow[] = [
  ...made.of({ node: 'n1', kind: 'NEW', flow: TO_WEB }, at(0)),
  ...made.of({ node: 'n2', kind: 'NEW', flow: TO_WEB }, at(1)),
  ...made.of({ node: 'n1', kind: 'UPDATE', flow: { ...TO_WEB, state: 'SYN_RECV' } }, at(2)),
  ...made.of({ node: 'n1', kind: 'NEW', flow: { ...TO_WEB, protocol: 17, state: '' } }, at(3)),
  ...made.of({ node: 'n1', kind: 'DROP', drop: dropOf(Verdict.REJECTED_TCP_RESET, DROPPED_SYN) }, at(4)),
  ...made.of({ node: 'n2', kind: 'DROP', drop: dropOf(Verdict.TTL_EXCEEDED) }, at(5)),
];
const MESSAGES: Flow[] = [DNS_ANSWER, HTTP_REQUEST, HTTP_RESPONSE].flatMap((seen, i) =>
  made.of(messageOf('n2', seen), at(i)),
);

test.before(async () => {
  await server.listen(`unix:${socket}`);
  for (const flow of FLOWS) store.add(flow);
  client = new Client(`unix:${socket}`, credentials.createInsecure());
});

test.after(() => {
  client.close();
  server.close();
  rmSync(directory, { recursive: true });
});

interface Response {
  readonly flow?: { readonly uuid: string; readonly verdict: string };
}

const request = codecOf<object>('GetFlowsRequest');
const response = codecOf<Response>('GetFlowsResponse');

function stream(message: object) {
  return client.makeServerStreamRequest<object, Response>(
    '/observer.Observer/GetFlows',
    request.encode,
    response.decode,
    message,
  );
}

/** Numbers of the flows in FLOWS. */
async function flows(message: object): Promise<number[]> {
  const found: number[] = [];
  for await (const { flow } of stream(message) as AsyncIterable<Response>) {
    found.push(FLOWS.findIndex(({ uuid }) => uuid === flow?.uuid));
  }
  return found;
}

const seconds = (second: number) => ({ seconds: Math.floor(startMs / 1000) + second, nanos: (startMs % 1000) * 1e6 });

test('the last, the first, since and until', async () => {
  assert.equal(await flows({}), [0, 1, 2, 3, 4, 5]);
  assert.equal(await flows({ number: 2 }), [4, 5]);
  assert.equal(await flows({ number: 2, first: true }), [0, 1]);
  assert.equal(await flows({ since: seconds(2), until: seconds(4) }), [2, 3, 4]);
});

test('filters: values of a property are alternatives, properties of a filter must all match, filters are alternatives', async () => {
  assert.equal(await flows({ whitelist: [{ source_pod: ['default/client'] }] }), [0, 1, 3, 4]);
  assert.equal(await flows({ whitelist: [{ source_pod: ['default/client'], node_name: ['n2'] }] }), [1]);
  assert.equal(await flows({ whitelist: [{ protocol: ['udp'] }, { verdict: ['DROPPED'] }] }), [3, 4, 5]);
  assert.equal(await flows({ whitelist: [{ drop_reason_desc: [158] }] }), [4]);
  assert.equal(await flows({ whitelist: [{ event_type: [{ type: 4, match_sub_type: true, sub_type: 0 }] }] }), [1, 2]);
  assert.equal(await flows({ blacklist: [{ verdict: ['FORWARDED'] }] }), [4, 5]);
  assert.equal(await flows({ whitelist: [{ reply: [true] }] }), [2]);
});

test("Hubble UI's request: a dropped packet counts as no reply, and nothing has a name that was looked up", async () => {
  const whitelist = [{ source_pod: ['default/'], reply: [false] }];
  const blacklist = [{ source_label: ['reserved:unknown'] }, { destination_fqdn: ['*.cluster.local*'] }];
  assert.equal(await flows({ whitelist, blacklist }), [0, 1, 3, 4]);
  assert.equal(await flows({ whitelist: [{ source_fqdn: ['*'] }] }), []);
});

test('an unsupported filter is an error that names it; it is not ignored', async () => {
  try {
    await flows({ whitelist: [{ trace_id: ['1'] }] });
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'the filter trace_id ("1") is not supported');
  }
});

test('messages of applications are sent whole, with their latency as a number of 64 bits', () => {
  const sent = MESSAGES.map((flow) => response.decode(response.encode(flowResponse(flow) as Response)).flow as Flow);
  const [answer, request, reply] = sent;
  assert.equal(answer?.l7?.dns?.ips, ['192.0.2.7']);
  assert.equal([answer?.Type, answer?.l7?.type, answer?.l7?.dns?.ttl], ['L7', 'RESPONSE', 30]);
  assert.equal(request?.l7?.http, { method: 'GET', url: 'http://shop/cart?id=1', protocol: 'HTTP/1.1' });
  assert.equal([reply?.l7?.http?.code, String(reply?.l7?.latency_ns)], [204, '12500000']);
});

test('filters of messages, in requests and as JSON', () => {
  const passed = (filter: object) => MESSAGES.map((flow) => requestFilters([filter as never], []).passes(flow));
  assert.equal(passed({ protocol: ['dns'] }), [true, false, false]);
  assert.equal(passed({ event_type: [{ type: 129 }] }), [true, true, true]);
  assert.equal(passed({ dns_query: ['^www[.]'] }), [true, false, false]);
  assert.equal(passed({ http_status_code: ['20+'] }), [false, false, true]);
  assert.equal(passed({ http_method: ['get'], http_path: ['^/cart$'] }), [false, true, true]);
  assert.equal(passed({ http_url: ['[?]id='] }), [false, true, true]);
  assert.throws(() => passed({ http_status_code: ['6+'] }), /not supported/);
  assert.throws(() => passed({ http_path: ['('] }), /not supported/);
  const byJson = (text: string) => MESSAGES.map((flow) => new FlowFilters([filterOfJson(text)], []).passes(flow));
  assert.equal(byJson('{"protocol":["http"],"reply":[true]}'), [false, false, true]);
  assert.equal(byJson('{"httpMethod":["GET"]}'), [false, true, true]);
  assert.throws(() => filterOfJson('{"colour":["red"]}'), /colour is not known/);
});

test('a follower gets the flows that were recorded, then those that happen', async () => {
  const call = stream({ number: 1, follow: true });
  const found: (string | undefined)[] = [];
  const done = new Promise<void>((resolve) => {
    call.on('error', () => resolve());
    call.on('data', ({ flow }: Response) => {
      found.push(flow?.uuid);
      if (found.length === 1) store.add(later!);
      else call.cancel();
    });
  });
  const [later] = made.of({ node: 'n2', kind: 'DESTROY', flow: TO_WEB }, at(6));
  await done;
  assert.equal(found, [FLOWS.at(-1)?.uuid, later?.uuid]);
});

test('the log outlives the server, reaches back further than memory, and stays within its size', async () => {
  const log = { directory: join(directory, 'log'), bytes: 400_000 };
  const first = new FlowStore(log);
  const total = MAX_FLOWS + 200;
  const size = (): number =>
    readdirSync(log.directory).reduce((sum, name) => sum + statSync(join(log.directory, name)).size, 0);
  for (let i = 0; i < total; i++) {
    first.add({ ...FLOWS[0]!, uuid: `flow-${i}`, time: at(i / 1000) });
    if (i % 100 === 0) assert.ok(size() <= log.bytes, `${size()} bytes`);
  }
  first.flush();
  assert.ok(size() <= log.bytes, `${size()} bytes`);
  const second = new FlowStore({ ...log, bytes: 100_000_000 });
  second.add({ ...FLOWS[0]!, uuid: 'new', time: at(30) });
  const found: string[] = [];
  for await (const { uuid } of second.since(startMs)) found.push(uuid);
  assert.is(found.at(-1), 'new');
  assert.is(found.at(-2), `flow-${total - 1}`);
  assert.ok(found.length > 100, `${found.length} flows`);
  assert.is(new Set(found).size, found.length);
});

test('a log that cannot be written is reported once, and the server goes on', () => {
  const log = { directory: join(directory, 'gone'), bytes: 400_000 };
  const said: string[] = [];
  const full = new FlowStore({ ...log, onFailure: (text) => said.push(text) });
  rmSync(log.directory, { recursive: true });
  for (let i = 0; i < 3; i++) {
    full.add(FLOWS[0]!);
    full.flush();
  }
  assert.is(said.length, 1);
  assert.match(said.join(), /^flows are missing in the log: ENOENT/);
  assert.is(full.size, 3);
});

const PROGRAM_TEST = 'the hubble program: observe with filters prints our own lines; status, nodes and namespaces';
clientTest(test, 'HUBBLE', PROGRAM_TEST, async (program) => {
  const hubble = (...args: string[]) => output(run([program, ...args, '--server', `unix://${socket}`]));
  const file = join(directory, 'flows.json');
  for (const filter of [
    ['--last', '100'],
    ['--last', '100', '--pod', 'client'],
    ['--last', '100', '--verdict', 'DROPPED'],
    ['--last', '100', '--to-service', 'shop/web'],
    ['--last', '100', '--port', '8080', '--protocol', 'tcp'],
    ['--last', '100', '--not', '--tcp-flags', 'SYN'],
    ['--last', '100', '--type', 'trace:to-overlay'],
    ['--last', '100', '--node-name', 'n2'],
    ['--last', '100', '--traffic-direction', 'egress'],
    ['--since', '2h', '--drop-reason-desc', 'SERVICE_BACKEND_NOT_FOUND'],
  ]) {
    const lines = await hubble('observe', '--print-node-name', ...filter);
    const all = [...store.recent].map((flow) => JSON.stringify({ flow, node_name: flow.node_name, time: flow.time }));
    writeFileSync(file, `${all.join('\n')}\n`);
    const own = await dataplane(['observe', '--input-file', file, '--print-node-name', ...filter]);
    assert.is(lines, own.stdout, filter.join(' '));
  }
  const status = await hubble('status');
  assert.match(status, /Healthcheck \(via unix:.*\): Ok/);
  assert.match(status, new RegExp(`Current/Max Flows: ${store.size}/4,?095`));
  assert.match(status, 'Connected Nodes: 2/2');
  const nodes = await hubble('list', 'nodes');
  assert.match(nodes, /^n1 +Connected /m);
  assert.match(nodes, /^n2 +Connected /m);
  assert.match(await hubble('list', 'namespaces'), /^shop$/m);
});

test.run();
