/**
 * The name server of a node under load: queries at a fixed rate from several sockets over loopback, as those of a node's pods;
 * how many were answered, how late, and the processor time that each took the server. The server runs in a process of its own.
 *
 *   node dist/bench/net/name-server.js [--rate 20000] [--seconds 5] [--services 500]
 */
import { fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { encode } from 'dns-packet';
import type { Service } from '../../src/api/types/objects.ts';
import { ClusterZone } from '../../src/dns/cluster-zone.ts';
import { Resolver } from '../../src/dns/resolver.ts';
import { DnsServer, RECEIVE_BYTES } from '../../src/dns/server.ts';
import { boundUdpSocket } from '../../src/linux/udp-socket.ts';

const HOST = '127.0.0.1';
const SOCKETS = 16;
/** Before the measurement: V8 compiles what is used. */
const WARM_UP_SECONDS = 1;
const SETTLE_MS = 500;
const RECURSION_DESIRED = 0x100;

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '20000' },
    seconds: { type: 'string', default: '5' },
    services: { type: 'string', default: '500' },
    help: { type: 'boolean', default: false },
  },
});
const [rate, seconds, services] = [Number(values.rate), Number(values.seconds), Number(values.services)];

if (values.help) console.log('usage: node dist/bench/net/name-server.js [--rate 20000] [--seconds 5] [--services 500]');
else if (process.send) await serve();
else await measure();

/** The server's process: reports its port, and its processor time whenever it is asked. */
async function serve(): Promise<void> {
  const zone = new ClusterZone('cluster.local', '10.96.0.10');
  for (let i = 0; i < services; i++) {
    const spec = { clusterIP: `10.96.${1 + (i >> 8)}.${i & 255}`, ports: [{ name: 'http', port: 80 }] };
    zone.setService({ metadata: { name: `web${i}`, namespace: 'default' }, spec } as unknown as Service);
  }
  const resolver = new Resolver({ zone, isOwnAddress: () => false });
  // A free port of both protocols; the buffer is the agent's.
  const probe = createSocket('udp4').bind(0, HOST);
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise<void>((resolve) => probe.close(resolve));
  const udpSocket = boundUdpSocket(HOST, port, RECEIVE_BYTES);
  await DnsServer.listen({ address: HOST, port, udpSocket, resolver, log: console.error });
  process.on('message', () => process.send!({ cpu: process.cpuUsage() }));
  process.on('disconnect', () => process.exit());
  process.send!({ port });
}

interface Outcome {
  sent: number;
  answered: number;
  seconds: number;
  microseconds: number[];
}

async function measure(): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ['--services', String(services)]);
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  const cpu = async () => {
    child.send('cpu');
    const [{ cpu }] = (await once(child, 'message')) as [{ cpu: NodeJS.CpuUsage }];
    return cpu.user + cpu.system;
  };
  // A look-up of `webN` in a pod: the name with the search list, for both types; and names that do not exist.
  const mixed = (i: number) => query(i, `web${i % services}.default.svc.cluster.local`, i % 2 === 0 ? 'A' : 'AAAA');
  const unknown = (i: number) => query(i, `nobody${i}.default.svc.cluster.local`, 'A');
  await load(port, mixed, WARM_UP_SECONDS);
  for (const [title, make] of [
    ['names of services', mixed],
    ['unknown names, each once', unknown],
  ] as const) {
    const before = await cpu();
    const { sent, answered, seconds: took, microseconds } = await load(port, make, seconds);
    const each = ((await cpu()) - before) / answered;
    microseconds.sort((a, b) => a - b);
    const at = (share: number) => ((microseconds[Math.floor(microseconds.length * share)] ?? 0) / 1000).toFixed(2);
    const rateText = `${Math.round(sent / took)}/s sent, ${sent - answered} of ${sent} lost`;
    console.log(
      `${title}: ${rateText}; p50 ${at(0.5)} ms, p99 ${at(0.99)} ms; ${each.toFixed(1)} µs of processor time each`,
    );
  }
  child.disconnect();
}

function query(i: number, name: string, type: 'A' | 'AAAA'): Buffer {
  return encode({ type: 'query', id: i & 0xffff, flags: RECURSION_DESIRED, questions: [{ name, type }] });
}

async function load(port: number, make: (i: number) => Buffer, duration: number): Promise<Outcome> {
  const count = Math.round(rate * duration);
  const queries = Array.from({ length: count }, (_, i) => make(i));
  const sentAt = new Float64Array(65536);
  const outcome: Outcome = { sent: 0, answered: 0, seconds: 0, microseconds: [] };
  const sockets = await Promise.all(
    Array.from({ length: SOCKETS }, async () => {
      const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
      socket.on('message', (message) => {
        outcome.answered++;
        outcome.microseconds.push((performance.now() - sentAt[message.readUInt16BE(0)]!) * 1000);
      });
      await new Promise<void>((resolve) => socket.connect(port, HOST, resolve));
      return socket;
    }),
  );
  const startedMs = performance.now();
  while (outcome.sent < count) {
    const due = Math.min(count, Math.floor(((performance.now() - startedMs) / 1000) * rate));
    for (; outcome.sent < due; outcome.sent++) {
      const i = outcome.sent;
      sentAt[i & 0xffff] = performance.now();
      sockets[i % SOCKETS]!.send(queries[i]!);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  outcome.seconds = (performance.now() - startedMs) / 1000;
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  for (const socket of sockets) socket.close();
  return outcome;
}
