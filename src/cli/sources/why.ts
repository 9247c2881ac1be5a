/** What `why` looks at beyond the API's objects: the pods' own network, names, the nodes' tables, and a real attempt. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Pod } from '../../api/types/objects.ts';
import { networkNamespaceOf, type Place } from '../../cluster/network-namespaces.ts';
import { readClusterFile, STATE_DIR } from '../../cluster/state.ts';
import { connectInNamespace } from '../../linux/connect.ts';
import { type Check, fail, pass } from '../../observe/why/check.ts';
import { readStatus } from './status.ts';

const run = promisify(execFile);
const ATTEMPT_MS = 1000;
const DNS_PORT = 53;

/** A pod whose eth0 has another address than its own is cut off: what it sends counts as spoofed. */
export async function checkAddress(pod: Pod, place: Place): Promise<Check[]> {
  const path = networkNamespaceOf(place);
  const ip = pod.status?.podIP;
  if (path === undefined || ip === undefined) return [];
  const { stdout } = await run('nsenter', [`--net=${path}`, 'ip', '-j', '-4', 'address', 'show', 'dev', 'eth0']);
  const [device] = JSON.parse(stdout || '[]') as { addr_info?: { local: string }[]; operstate?: string }[];
  const has = device?.addr_info?.map(({ local }) => local) ?? [];
  const who = `pod ${pod.metadata.namespace}/${pod.metadata.name}`;
  if (device?.operstate === 'DOWN') return [fail('device', `eth0 of ${who} is down`)];
  if (has.length === 1 && has[0] === ip) return [];
  return [
    fail(
      'address',
      `eth0 of ${who} has ${has.join(', ') || 'no address'}, not ${ip} alone: other sources are dropped as spoofed`,
    ),
  ];
}

/** From this part of its capacity on, a table that has refused connections is named as the cause. */
const FULL = 0.9;
/** A pod cannot have reached its share while less of the table is used (conntrack/shares.ts). */
const SHARED = 0.65;

/** Have the connection tables of these nodes room? */
export async function checkTables(names: ReadonlySet<string>): Promise<Check[]> {
  const cluster = readClusterFile();
  if (cluster === undefined) return [];
  const { nodes } = await readStatus(cluster);
  return nodes.flatMap(({ name, conntrack, workers }) => {
    const refused = (reason: string) => workers.reduce((sum, { drops }) => sum + (drops[reason] ?? 0), 0);
    const { entries, max } = conntrack;
    const isCause = (reason: string, from: number) => names.has(name) && refused(reason) > 0 && entries >= max * from;
    if (isCause('conntrack-full', FULL)) {
      const percent = Math.floor((entries / max) * 100);
      const text = `the connection table of node ${name} is ${percent} % full (${entries} of ${max}) and has refused ${refused('conntrack-full')} packets`;
      return [fail('tables', text)];
    }
    if (!isCause('conntrack-share', SHARED)) return [];
    const text = `a pod of node ${name} holds its whole share of the connection table (${entries} of ${max} entries are used) and was refused ${refused('conntrack-share')} connections`;
    return [fail('tables', text)];
  });
}

/** Can packets to an address outside of the cluster leave `dp-outside`? */
export async function checkWayOut(ip: string): Promise<Check[]> {
  const [{ isRouted }, { wayOutMark }] = await Promise.all([
    import('../../cluster/ways-out/unroutable.ts'),
    import('../../cluster/ways-out/way-out.ts'),
  ]);
  if (await isRouted(ip)) return [pass('way out', `dp-outside has a route to ${ip}`)];
  const cluster = readClusterFile();
  const mark = wayOutMark();
  const why = !cluster?.egress
    ? `the cluster was brought up without --egress, so that what is not in dp-outside cannot be reached`
    : `slirp4netns ${mark === undefined ? 'was not started' : `(pid ${mark.pid}) does not run`}: see the controller's log`;
  return [fail('way out', `there is no way to ${ip}: ${why}`)];
}

/** MTU of a pod's eth0. */
export async function deviceMtu(place: Place): Promise<number | undefined> {
  const path = networkNamespaceOf(place);
  if (path === undefined) return undefined;
  const { stdout } = await run('nsenter', [`--net=${path}`, 'ip', '-j', 'link', 'show', 'dev', 'eth0']);
  return (JSON.parse(stdout || '[]') as { mtu: number }[])[0]?.mtu;
}

/** The address that a pod gets for a name. */
export async function resolveName(
  name: string,
  place: Place & { kind: 'pod' },
): Promise<{ ip: string | undefined; check: Check }> {
  const [{ lookUp, parseResolvConf }, { resolvConfPath }] = await Promise.all([
    import('../../dns/look-up.ts'),
    import('../../runtime/container/resolv-conf.ts'),
  ]);
  const path = networkNamespaceOf(place);
  const file = resolvConfPath(STATE_DIR, place.namespace, place.name);
  if (path === undefined || file === undefined)
    return { ip: undefined, check: fail('name', `pod ${place.name} has no container that has been started`) };
  const settings = parseResolvConf(readFileSync(file, 'utf8'));
  const connect = (server: string) => connectInNamespace(path, server, DNS_PORT);
  const attempts = await lookUp({ name, type: 'A', settings, connect, timeoutMs: ATTEMPT_MS });
  const last = attempts.at(-1);
  const found = last?.answers.find(({ type }) => type === 'A') as { data: string } | undefined;
  if (found !== undefined) return { ip: found.data, check: pass('name', `${last!.name} is ${found.data}`) };
  const unanswered = attempts.find(({ outcome }) => !/^[A-Z]+$/.test(outcome));
  const text =
    unanswered === undefined
      ? `${name} has no address: ${attempts.map((one) => `${one.name} ${one.outcome}`).join(', ')}`
      : `name server ${unanswered.server} does not answer: ${unanswered.outcome}`;
  return { ip: undefined, check: fail('name', text) };
}

/** Does a program in the pod accept connections to this port, at the pod's address? */
export async function checkListening(pod: Pod, place: Place, port: number): Promise<Check[]> {
  const path = networkNamespaceOf(place);
  const ip = pod.status?.podIP;
  if (path === undefined || ip === undefined) return [];
  const who = `pod ${pod.metadata.namespace}/${pod.metadata.name}`;
  const at = await attempt(path, ip, port);
  if (at === 'connected') return [listens(who, port)];
  if (at !== 'ECONNREFUSED') return [];
  const inside = (await attempt(path, '127.0.0.1', port)) === 'connected';
  return [inside ? listensInward(who, port) : listensNot(who, port, await listeners(path))];
}

/** The same by the sockets that there are, without a connection. */
export async function checkListeners(pod: Pod, place: Place, port: number): Promise<Check[]> {
  const path = networkNamespaceOf(place);
  const ip = pod.status?.podIP;
  if (path === undefined || ip === undefined) return [];
  const who = `pod ${pod.metadata.namespace}/${pod.metadata.name}`;
  const found = await listeners(path);
  const at = new Set(found.filter((one) => one.port === port).map(({ address }) => address));
  if ([ip, '0.0.0.0', '*', '[::]'].some((address) => at.has(address))) return [listens(who, port)];
  return [at.has('127.0.0.1') ? listensInward(who, port) : listensNot(who, port, found)];
}

const listens = (who: string, port: number): Check => pass('listener', `a program in ${who} listens on port ${port}`);
const listensInward = (who: string, port: number): Check =>
  fail('listener', `in ${who} port ${port} is listened on at 127.0.0.1 alone, which only the pod itself reaches`);

function listensNot(who: string, port: number, others: readonly Listener[]): Check {
  const ports = [...new Set(others.map((one) => one.port))].sort((a, b) => a - b);
  const has = ports.length > 0 ? ` (listened on: ${ports.join(', ')})` : '';
  return fail('listener', `nothing in ${who} listens on port ${port}${has}`);
}

/** A connection as the sender would make it. */
export async function checkAttempt(place: Place, ip: string, port: number): Promise<Check[]> {
  const path = networkNamespaceOf(place);
  if (path === undefined) return [];
  const startedMs = performance.now();
  const result = await attempt(path, ip, port);
  const where = `${ip}:${port}`;
  if (result === 'connected')
    return [pass('attempt', `connected to ${where} in ${(performance.now() - startedMs).toFixed(1)} ms`)];
  const why: Record<string, string> = {
    ECONNREFUSED: 'is refused',
    timeout: `is not answered within ${ATTEMPT_MS / 1000} s`,
    EHOSTUNREACH: 'fails: no route to host',
    EACCES: 'fails: prohibited',
  };
  return [fail('attempt', `a connection to ${where} ${why[result] ?? `fails: ${result}`}`)];
}

/** `connected`, `timeout`, or the code of the error. */
function attempt(path: string, ip: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    let socket: ReturnType<typeof connectInNamespace>;
    try {
      socket = connectInNamespace(path, ip, port);
    } catch (error) {
      resolve((error as NodeJS.ErrnoException).code ?? (error as Error).message);
      return;
    }
    const finish = (result: string) => {
      clearTimeout(timer);
      clearInterval(look);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish('timeout'), ATTEMPT_MS);
    // A socket made from a descriptor has no event for being connected.
    const look = setInterval(() => {
      if (socket.remoteAddress !== undefined) finish('connected');
    }, 2);
    socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
  });
}

interface Listener {
  readonly address: string;
  readonly port: number;
}

/** The TCP sockets that listen in a network namespace (ss(8)). */
async function listeners(path: string): Promise<Listener[]> {
  const { stdout } = await run('nsenter', [`--net=${path}`, 'ss', '-Hltn']);
  return stdout.split('\n').flatMap((line) => {
    const local = line.trim().split(/\s+/)[3];
    if (local === undefined) return [];
    const colon = local.lastIndexOf(':');
    return [{ address: local.slice(0, colon).replace(/%.*$/, ''), port: Number(local.slice(colon + 1)) }];
  });
}
