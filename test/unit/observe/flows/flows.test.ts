/** Connection events as Hubble's flows, and their printed forms. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { printCompact, printDict, stampMilli, tableRow } from '../../../../src/observe/hubble/print.ts';
import { addresses, maker, TIME, TO_WEB } from '../../../lib/flows.ts';

const PLAIN = { nodeName: false, numeric: false };
const flowOf = (node: string, kind: 'NEW' | 'UPDATE' | 'DESTROY', flow = TO_WEB) =>
  maker().of({ node, kind, flow }, TIME)[0]!;

test('a new connection is shown to the endpoint, with the Service that was asked for, at each node', () => {
  const sending = flowOf('n1', 'NEW');
  assert.match(
    printCompact(sending, PLAIN),
    /^Nov {2}8 13:04:05\.120: default\/client:40000 \(ID:\d+\) -> shop\/web-7d4b9:8080 \(ID:\d+\) to-overlay FORWARDED \(TCP Flags: SYN\)$/,
  );
  assert.equal(sending.destination_service, { name: 'web', namespace: 'shop' });
  assert.is(sending.traffic_direction, 'EGRESS');
  const receiving = flowOf('n2', 'NEW');
  assert.is(receiving.trace_observation_point, 'TO_ENDPOINT');
  assert.is(receiving.traffic_direction, 'INGRESS');
  assert.is(receiving.source?.identity, sending.source?.identity, 'an identity is the same on every node');
});

test('a reply is printed with its ends swapped and an arrow back, as Hubble prints it', () => {
  const status = ['SEEN_REPLY', 'CONFIRMED', 'DST_NAT'];
  const flow = flowOf('n1', 'UPDATE', { ...TO_WEB, state: 'SYN_RECV', status });
  assert.is(flow.is_reply, true);
  assert.is(flow.IP?.source, '10.244.2.2');
  assert.equal(flow.source_service, { name: 'web', namespace: 'shop' });
  assert.match(
    printCompact(flow, { nodeName: true, numeric: true }),
    /^Nov {2}8 13:04:05\.120 \[n1\]: 10\.244\.1\.2:40000 \(ID:\d+\) <- 10\.244\.2\.2:8080 \(ID:\d+\) to-endpoint FORWARDED \(TCP Flags: SYN, ACK\)$/,
  );
});

test('the direction of a packet that the event does not have is not guessed', () => {
  const flow = flowOf('n1', 'UPDATE', { ...TO_WEB, state: 'FIN_WAIT' });
  assert.not('is_reply' in flow);
  assert.match(printCompact(flow, PLAIN), / <> .* \(TCP Flags: FIN, ACK\)$/);
});

test('the end of a connection has what it carried', () => {
  const flow = flowOf('n1', 'DESTROY', { ...TO_WEB, state: 'TIME_WAIT', packets: [6, 5], bytes: [420, 3200] });
  assert.is(flow.Summary, 'TCP ended; 6 packets (420 bytes) sent, 5 (3200 bytes) received');
});

test('from outside to a NodePort: world, masqueraded by the node', () => {
  const [flow] = maker().of(
    {
      node: 'n1',
      kind: 'NEW',
      flow: {
        ...TO_WEB,
        original: { src: '172.18.0.1', srcPort: 5000, dst: '172.18.0.11', dstPort: 31418 },
        reply: { src: '10.244.2.2', srcPort: 8080, dst: '10.244.1.1', dstPort: 61000 },
      },
    },
    TIME,
  );
  assert.is(flow?.source?.identity, 2);
  assert.is(flow?.IP?.source_xlated, '10.244.1.1');
  assert.equal(flow?.destination_service, { name: 'web', namespace: 'shop' });
  assert.match(printCompact(flow!, PLAIN), /: 172\.18\.0\.1:5000 \(world\) -> shop\/web-7d4b9:8080 /);
});

test('the own node is the host, another a remote node', () => {
  const known = addresses();
  assert.is(known.owner('172.18.0.11', 'n1').endpoint.identity, 1);
  assert.is(known.owner('172.18.0.11', 'n2').endpoint.identity, 6);
});

test('a UDP answer is a reply once; a ping has the type of its packet', () => {
  const udp = { ...TO_WEB, protocol: 17, state: '', status: ['CONFIRMED', 'SEEN_REPLY'] };
  assert.is(flowOf('n1', 'UPDATE', udp).is_reply, true);
  assert.not('is_reply' in flowOf('n1', 'UPDATE', { ...udp, status: [...udp.status, 'ASSURED'] }));
  const ping = {
    ...udp,
    protocol: 1,
    status: ['CONFIRMED'],
    original: { src: '10.244.1.2', srcPort: 77, dst: '10.244.2.2', dstPort: 8 },
    reply: { src: '10.244.2.2', srcPort: 8, dst: '10.244.1.2', dstPort: 77 },
  };
  const flow = flowOf('n1', 'NEW', ping);
  assert.equal(flow.l4, { ICMPv4: { type: 8, code: 0 } });
  assert.is(flow.Summary, 'ICMPv4 EchoRequest');
  assert.match(printCompact(flow, PLAIN), /: default\/client \(ID:\d+\) -> shop\/web-7d4b9 \(ID:\d+\) /);
});

test('table and dictionary have the same cells', () => {
  const flow = flowOf('n1', 'NEW');
  const cells = tableRow(flow, { nodeName: true, numeric: false });
  assert.equal(cells.slice(1, 4), ['n1', 'default/client:40000', 'shop/web-7d4b9:8080']);
  assert.is(
    printDict(flow, PLAIN),
    [
      '  TIMESTAMP: Nov  8 13:04:05.120',
      '     SOURCE: default/client:40000',
      'DESTINATION: shop/web-7d4b9:8080',
      '       TYPE: to-overlay',
      '    VERDICT: FORWARDED',
      '    SUMMARY: TCP Flags: SYN',
    ].join('\n'),
  );
  assert.is(stampMilli('never'), 'N/A');
});

test.run();
