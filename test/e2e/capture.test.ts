/** `dataplane capture` and `extcap` on a real cluster. */
import { execFileSync, spawn } from 'node:child_process';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type CapturedFrame, Direction } from '../../native-free-dataplane/capture/frame.ts';
import { CaptureReader } from '../../native-free-dataplane/capture/reader.ts';
import { attachCaptureMemory, SESSIONS, sessionsInUse } from '../../native-free-dataplane/live-capture/memory.ts';
import { printBytes } from '../../native-free-dataplane/print/frame.ts';
import { verdictName } from '../../native-free-dataplane/verdicts.ts';
import { openShared } from '../../src/linux/shm.ts';
import { memoryName } from '../../src/shm-names.ts';
import { Failure } from '../../src/worker/control.ts';
import { missingProgram } from '../lib/applications.ts';
import { type Cluster, dataplane, eventually, MAIN } from '../lib/cluster.ts';
import { readCapture } from '../lib/frames/capture-file.ts';
import { WorkerControl } from '../lib/node-processes.ts';
import { RunningCommand } from '../lib/running-command.ts';
import { testUnless } from '../lib/test-unless.ts';
import { CLIENT, PORT, startWebAndClient } from '../lib/web-and-client.ts';

const LISTENER = "(q, r) => r.end(q.url === '/big' ? 'x'.repeat(3e6) : 'web')";
const HTTP = { ...PORT, name: 'http' };

/** CAPTURED_FRAMES=1000000 is the long form (`npm run test:capture`). */
const FRAMES = Number(process.env.CAPTURED_FRAMES ?? 12_000);

const test = suite('capture');
const directory = mkdtempSync(join(tmpdir(), 'dataplane-capture-'));
let cluster: Cluster;

test.before(async () => {
  cluster = await startWebAndClient(LISTENER, {
    args: ['--workers', '2'],
    web: { type: 'NodePort', ports: [{ ...HTTP, nodePort: 31418 }] },
    none: { type: 'NodePort', ports: [HTTP] },
  });
});

test.after(async () => {
  rmSync(directory, { recursive: true, force: true });
  await cluster?.down();
});

const capture = (...args: string[]): Promise<RunningCommand> =>
  new RunningCommand('capture', ...args).started(/^capturing on/m);

/** Capture into a file during `work`. */
async function record(name: string, args: readonly string[], work: () => Promise<unknown>): Promise<CapturedFrame[]> {
  const file = join(directory, name);
  const running = await capture('-w', file, ...args);
  await work();
  const { status, stderr } = await running.stop();
  assert.is(status, 0, stderr);
  assert.match(stderr, / frames? captured, 0 lost/);
  const { frames, damage } = readCapture(readFileSync(file));
  assert.is(damage, '');
  return frames;
}

const line = ({ bytes }: CapturedFrame): string => printBytes(bytes, true);
const fetchFromOutside = () => cluster.fetch('dp-outside', 'http://172.18.0.12:31418/');

test('a NodePort of another node: one packet id before translation, and behind it inside the overlay', async () => {
  const frames = await record('nodeport.pcapng', ['tcp'], fetchFromOutside);
  const syn = frames.find((each) => / > 172\.18\.0\.12:31418 S$/.test(line(each)));
  assert.ok(syn, frames.map(line).join('\n'));
  assert.is(syn?.source.name, 'n2/dp0');
  assert.is(syn?.options.flags, Direction.INBOUND);
  const same = frames.filter(({ options }) => options.packetId === syn?.options.packetId);
  assert.is(same.length, 2, same.map(line).join('\n'));
  assert.match(line(same[1]!), /^vxlan 172\.18\.0\.12 > 172\.18\.0\.11 vni 1 \(tcp .* > 10\.244\.1\.\d+:8080 S\)$/);
  assert.is(same[1]?.source.name, 'n2/dp0');
  assert.is(same[1]?.options.flags, Direction.OUTBOUND);

  const delivered = frames.find((each) => each.source.name === 'n1/default/web/eth0' && line(each).endsWith('S'));
  assert.match(line(delivered!), /^tcp .* > 10\.244\.1\.\d+:8080 S$/);
  const comments = delivered?.options.comments?.join('\n') ?? '';
  assert.match(comments, /^PodName: web\nPodNamespace: default\nPodUID: /);
  assert.match(comments, 'Verdict: forwarded: Sent to a pod of this node.');
  assert.match(syn?.options.comments?.join('\n') ?? '', 'Service: default/web:http');
  assert.ok((delivered?.options.queue ?? -1) >= 0);
});

testUnless(missingProgram(['tshark', 'capinfos']), test)(
  'tshark and capinfos find nothing malformed, and the names of pods',
  () => {
    const file = join(directory, 'nodeport.pcapng');
    const { frames } = readCapture(readFileSync(file));
    const tshark = (...args: string[]): string =>
      execFileSync('tshark', ['-r', file, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    assert.is(tshark('-Y', '_ws.malformed || _ws.expert.severity == error'), '');
    const ids = tshark('-T', 'fields', '-e', 'frame.packet_id', '-e', 'frame.interface_name').trim().split('\n');
    assert.is(ids.length, frames.length);
    assert.ok(
      ids.some((each) => each.endsWith('n1/default/web/eth0')),
      ids.join('\n'),
    );
    assert.match(tshark('-N', 'n', '-T', 'fields', '-e', 'ip.dst_host'), 'web.default');
    const capinfos = execFileSync('capinfos', ['-T', '-m', '-c', file], { encoding: 'utf8' });
    assert.match(capinfos, `,${frames.length}\n`);
  },
);

test('without -w: one line per frame, with port, packet and verdict; -c ends after so many', async () => {
  const running = await capture('-c', '1', '--node', 'n1', 'tcp dst port 8080 and tcp[tcpflags] = tcp-syn');
  await fetchFromOutside();
  const { status, stdout, stderr } = await running.ended;
  assert.is(status, 0);
  assert.match(stdout, /^\d\d:\d\d:\d\d\.\d{6} n1\/\S+ In {2}[01]#\d+ vxlan .*:8080 S.* \[forwarded\]\n$/);
  assert.match(stderr, /1 frame captured, 0 lost\n$/);
});

test('drops: a connection to a Service without endpoints, with its verdict, and nothing else', async () => {
  const frames = await record('drops.pcapng', ['--drops'], async () => {
    await fetchFromOutside();
    const refused = await cluster.exec(CLIENT, ['curl', '-s', '-m5', 'http://10.96.4.2/']);
    assert.is(refused.status, 7);
  });
  const relevant = frames.filter((each) => /10\.96\.4\.2|31418|8080/.test(line(each)));
  assert.equal(
    relevant.map((each) => line(each).replace(/:\d+ >/, ':N >')),
    [`tcp ${(await cluster.get<{ status: { podIP: string } }>('pod', 'client')).status.podIP}:N > 10.96.4.2:80 S`],
  );
  assert.match(relevant[0]?.options.comments?.join('\n') ?? '', 'Verdict: rejected-tcp-reset: ');
});

test("a pod's port: the frames are those that the counters count", async () => {
  interface Device {
    port: number;
    framesIn: number;
    framesOut: number;
  }
  const counted = async (): Promise<number> => {
    const status = JSON.parse(await cluster.cli('status', '-o', 'json')) as {
      nodes: { name: string; devices: Device[] }[];
    };
    const devices = status.nodes.find(({ name }) => name === 'n2')?.devices ?? [];
    return devices.filter(({ port }) => port !== 0).reduce((sum, each) => sum + each.framesIn + each.framesOut, 0);
  };
  let before = 0;
  let after = 0;
  const frames = await record('pod.pcapng', ['--pod', 'client'], async () => {
    before = await counted();
    for (let i = 0; i < 20; i++) await cluster.fetch(CLIENT, 'http://10.96.4.1/');
    after = await counted();
  });
  assert.ok(frames.length > 100);
  // Neighbour discovery of the pod's kernel may add a frame before the first count or after the last.
  assert.ok(Math.abs(frames.length - (after - before)) <= 4, `${frames.length} captured, ${after - before} counted`);
  assert.ok(frames.every(({ source }) => source.name === 'n2/default/client/eth0'));
});

/** Small datagrams in both directions, connections with large pages, names, pings, and connections that are refused. */
async function mixedTraffic(datagrams: number): Promise<void> {
  const source = `
    const socket = require('dgram').createSocket('udp4');
    const left = { sent: 0 };
    socket.on('error', () => {});
    socket.bind(0, () => {
      const burst = () => {
        for (let i = 0; i < 50 && left.sent < ${datagrams}; i++, left.sent++) {
          socket.send(Buffer.alloc(18 + (left.sent % 900)), 5353, left.sent % 2 ? '10.96.4.1' : '10.244.1.2');
        }
        if (left.sent < ${datagrams}) setTimeout(burst, 10);
        else setTimeout(() => socket.close(), 200);
      };
      burst();
    });`;
  const flood = cluster.exec(CLIENT, [process.execPath, '-e', source], { timeoutMs: 1_800_000 });
  const rounds = Math.max(3, Math.min(60, datagrams / 4000));
  for (let i = 0; i < rounds; i++) {
    await cluster.exec(CLIENT, ['curl', '-s', '-m20', 'http://10.96.4.1/big', '-o', '/dev/null']);
    await cluster.exec(CLIENT, ['curl', '-s', '-m5', 'http://10.96.4.2/']);
    await cluster.exec(CLIENT, ['ping', '-c2', '-i0.2', '-W1', '10.244.1.1']);
    await fetchFromOutside();
  }
  assert.is((await flood).status, 0);
}

/** Sums of the counters of all workers: frames in both directions, and packets by the verdicts that are failures. */
async function countersNow(): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  const add = (name: string, more: number) => sums.set(name, (sums.get(name) ?? 0) + more);
  for (const { workers } of (await cluster.status()).nodes) {
    for (const { framesIn, framesOut, drops } of workers) {
      add('in', framesIn);
      add('out', framesOut);
      for (const [verdict, packets] of Object.entries(drops)) add(verdict, packets);
    }
  }
  return sums;
}

/** Reads a file in pieces: frames by direction, and received ones by verdict. */
async function countFrames(file: string): Promise<Map<string, number>> {
  const reader = new CaptureReader();
  const counts = new Map<string, number>();
  const add = (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
  for await (const piece of createReadStream(file)) {
    reader.push(piece as Buffer);
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
      const received = frame.options.flags === Direction.INBOUND;
      add(received ? 'in' : 'out');
      if (received) add(verdictName(frame.options.verdicts![0]!.bytes[0]!));
    }
  }
  reader.end();
  assert.is(reader.damage, '');
  return counts;
}

test(`${FRAMES} captured frames: as many as the counters count, also by verdict, and nothing malformed`, async () => {
  const file = join(directory, 'many.pcapng');
  const before = await countersNow();
  const running = await capture('-w', file, '--snaplen', '256');
  const frames = (counters: ReadonlyMap<string, number>): number => counters.get('in')! + counters.get('out')!;
  // A datagram that is forwarded to another node is four frames. Devices lose some where a worker waits for a processor.
  for (let left = FRAMES; left > 0; left = frames(before) + FRAMES - frames(await countersNow())) {
    await mixedTraffic(Math.ceil(left / 4) + 100);
  }
  await sleep(500);
  const { status, stderr } = await running.stop();
  assert.is(status, 0, stderr);
  const after = await countersNow();
  const summary = /^(\d+) frames captured, (\d+) lost/m.exec(stderr);
  assert.ok(summary, stderr);
  const [, captured = 0, lost = 0] = summary!.map(Number);
  const counts = await countFrames(file);
  const moved = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  const found = (name: string): number => counts.get(name) ?? 0;
  assert.ok(captured + lost >= FRAMES, stderr);
  assert.is(found('in') + found('out'), captured);
  assert.is(captured + lost, moved('in') + moved('out'), `captured and lost frames are those counted: ${stderr}`);
  if (lost === 0) {
    for (const name of ['in', ...after.keys()].filter((name) => name !== 'out')) {
      assert.is(found(name), moved(name), name);
    }
  }
  if (missingProgram(['tshark', 'capinfos']) !== undefined) return;
  const tshark = execFileSync('tshark', ['-r', file, '-Y', '_ws.malformed || _ws.expert.severity == error'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  assert.is(tshark, '', 'tshark finds nothing malformed');
  const capinfos = execFileSync('capinfos', ['-T', '-m', '-c', file], { encoding: 'utf8' });
  assert.match(capinfos, `,${captured}\n`);
  console.log(stderr.trim().split('\n').at(-1), Object.fromEntries(counts));
});

test('four captures run at once, each with its own filter; a fifth is refused', async () => {
  const filters = ['tcp', 'port 8080', 'udp port 9', 'tcp and not port 8080'];
  const running = await Promise.all(filters.map((filter) => capture('--node', 'n1', filter)));
  const fifth = await dataplane(['capture', '--node', 'n1', '-c', '1']);
  assert.is(fifth.status, 1);
  assert.match(fifth.stderr, /^node n1 has 4 captures running, the most that are possible/);
  await fetchFromOutside();
  await cluster.fetch('dp-outside', 'http://172.18.0.11:31418/');
  // The last segments of both connections.
  await sleep(500);
  const texts = (await Promise.all(running.map((each) => each.stop()))).map(({ stdout }) => stdout);
  const [tcp = [], port = [], none, rest = []] = texts.map((text) => text.split('\n').slice(0, -1));
  assert.ok(port.length > 10);
  assert.equal(none, []);
  // A packet that matches at one point is followed to the next: all have the same number there.
  const numbers = (list: readonly string[]): string[] => list.map((each) => each.split(' ')[3] as string);
  assert.equal(
    numbers(port).filter((number) => !numbers(tcp).includes(number)),
    [],
    'port 8080 is TCP here',
  );
  assert.ok(rest.length > 0 && rest.length < tcp.length);
});

const inUse = (): number => {
  const shared = openShared(memoryName('n1', 'capture'));
  try {
    return sessionsInUse(attachCaptureMemory(shared.buffer)!);
  } finally {
    shared.close();
  }
};

test('a reader that is killed leaves nothing: its session expires', async () => {
  const running = await Promise.all(Array.from({ length: SESSIONS }, () => capture('--node', 'n1')));
  assert.is(inUse(), SESSIONS);
  for (const each of running) await each.stop('SIGKILL');
  await eventually(async () => (inUse() === 0 ? true : undefined), 30_000);
  const next = await capture('--node', 'n1');
  assert.is((await next.stop()).status, 0);
});

test('a worker that crashes and its successor go on with the capture', async () => {
  const running = await capture('--node', 'n2', 'tcp port 31418');
  await fetchFromOutside();
  const control = new WorkerControl('n2');
  for (const worker of [0, 1]) control.fail(worker, Failure.THROW);
  await eventually(async () => ([0, 1].every((worker) => control.restarts(worker) > 0) ? true : undefined));
  control.close();
  await eventually(fetchFromOutside, 20_000);
  const { stdout, stderr } = await running.stop();
  const syns = stdout.split('\n').filter((each) => / > 172\.18\.0\.12:31418 S /.test(each));
  assert.ok(syns.length >= 2, stdout + stderr);
});

test('--ring keeps the last files, each complete and of about the given size', async () => {
  const running = await capture('-w', join(directory, 'ring.pcapng'), '--ring', '2:1', '--node', 'n1', 'tcp');
  await cluster.fetch(CLIENT, 'http://10.96.4.1/big');
  assert.is((await running.stop('SIGTERM')).status, 0);
  const files = readdirSync(directory).filter((name) => name.startsWith('ring'));
  assert.equal(files.sort(), ['ring-1.pcapng', 'ring-2.pcapng']);
  for (const file of files) {
    const bytes = readFileSync(join(directory, file));
    const { frames, damage } = readCapture(bytes);
    assert.is(damage, '');
    assert.ok(frames.length > 0 && bytes.length < 1_200_000, `${file}: ${bytes.length} bytes`);
  }
});

test('a mistake in a filter is one line with its column, and nothing is captured', async () => {
  const { status, stderr } = await dataplane(['capture', 'tcp', 'prot', '80']);
  assert.is(status, 2);
  assert.is(stderr, 'filter "tcp prot 80", column 5: expected "and", "or" or the end of the filter, found "prot"\n');
});

test('extcap: interfaces, and a capture of a pod through a fifo', async () => {
  const interfaces = await cluster.cli('extcap', '--extcap-interfaces');
  assert.match(interfaces, /^extcap \{version=/);
  for (const value of ['dataplane', 'dataplane:n1', 'dataplane:n1/default/web', 'dataplane:n2/default/client']) {
    assert.match(interfaces, `interface {value=${value}}{display=`);
  }
  const name = 'dataplane:n1/default/web';
  assert.match(await cluster.cli('extcap', '--extcap-interface', name, '--extcap-dlts'), 'dlt {number=1}{name=EN10MB}');
  assert.match(await cluster.cli('extcap', '--extcap-interface', name, '--extcap-config'), '{call=--snaplen}');
  const bad = await dataplane(['extcap', '--extcap-interface', name, '--extcap-capture-filter', 'tcp prot']);
  assert.is(bad.status, 2);

  const fifo = join(directory, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const args = ['--capture', '--extcap-interface', name, '--fifo', fifo, '--extcap-capture-filter', 'tcp'];
  // A capture that fails lets the reader of the fifo go.
  const waiting = spawn('cat', [fifo], { stdio: 'ignore' });
  await eventually(async () => {
    const failed = await dataplane(['extcap', ...args.slice(0, -1), 'tcp prot']);
    assert.is(failed.status, 2);
    return waiting.exitCode ?? undefined;
  }, 20_000);

  const child = spawn(process.execPath, [MAIN, 'extcap', ...args], { stdio: 'ignore' });
  const reader = spawn('cat', [fifo], { stdio: ['ignore', 'pipe', 'ignore'] });
  const chunks: Buffer[] = [];
  reader.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise((resolve) => reader.on('close', resolve));
  await eventually(async () => (chunks.length > 0 ? true : undefined), 20_000);
  await fetchFromOutside();
  await eventually(async () => (readCapture(Buffer.concat(chunks)).frames.length > 4 ? true : undefined));
  child.kill('SIGTERM');
  await closed;
  const { frames, damage } = readCapture(Buffer.concat(chunks));
  assert.is(damage, '');
  assert.ok(frames.every(({ source }) => source.name === 'n1/default/web/eth0'));
});

test.run();
