/** A pod's look-up of a name, candidate by candidate, as the resolver of the C library goes through the search list. */
import type { Socket } from 'node:net';
import { type Answer, type decode, RECURSION_DESIRED, type RecordType, streamDecode, streamEncode } from 'dns-packet';

export interface ResolverSettings {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  /** A name with fewer dots is looked up in the search list first. */
  readonly ndots: number;
}

/** resolv.conf(5): the last `search` or `domain` counts, options accumulate; glibc uses three servers. */
export function parseResolvConf(text: string): ResolverSettings {
  let search: string[] = [];
  let ndots = 1;
  const servers: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined) servers.push(values[0]);
    if (keyword === 'search' || keyword === 'domain') search = values;
    if (keyword !== 'options') continue;
    for (const option of values) {
      const [, number] = /^ndots:(\d+)$/.exec(option) ?? [];
      if (number !== undefined) ndots = Math.min(15, Number(number));
    }
  }
  return { servers: servers.slice(0, 3), search, ndots };
}

/** The names that are tried, in order, each absolute (glibc, resolv/res_query.c __res_context_search). */
export function candidates(name: string, { search, ndots }: Pick<ResolverSettings, 'search' | 'ndots'>): string[] {
  if (name.endsWith('.')) return [name];
  const dots = name.split('.').length - 1;
  const searched = search.map((domain) => `${name}.${domain.replace(/\.$/, '')}.`);
  return dots >= ndots ? [`${name}.`, ...searched] : [...searched, `${name}.`];
}

export interface Attempt {
  readonly name: string;
  readonly server: string;
  /** NOERROR, NXDOMAIN, …; or why there was no response. */
  readonly outcome: string;
  readonly answers: readonly Answer[];
  readonly milliseconds: number;
}

export interface LookUpOptions {
  readonly name: string;
  readonly type: RecordType;
  readonly settings: ResolverSettings;
  /** A TCP connection to a server's port 53; it may still be connecting. */
  readonly connect: (server: string) => Socket;
  readonly timeoutMs: number;
}

/** Every query that was sent, up to the first response with an answer. */
export async function lookUp({ name, type, settings, connect, timeoutMs }: LookUpOptions): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  for (const candidate of candidates(name, settings)) {
    for (const server of settings.servers) {
      const attempt = await query({ name: candidate, type, server, connect, timeoutMs });
      attempts.push(attempt);
      // The next server is asked only if this one did not respond.
      if (/^[A-Z]+$/.test(attempt.outcome) && attempt.outcome !== 'SERVFAIL') break;
    }
    if (attempts.at(-1)!.answers.length > 0) break;
  }
  return attempts;
}

interface QueryOptions extends Pick<LookUpOptions, 'name' | 'type' | 'connect' | 'timeoutMs'> {
  readonly server: string;
}

/** One query over TCP, which needs no second attempt. */
function query({ name, type, server, connect, timeoutMs }: QueryOptions): Promise<Attempt> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    let socket: Socket;
    const finish = (outcome: string, answers: readonly Answer[] = []) => {
      clearTimeout(timer);
      socket?.destroy();
      resolve({ name, server, outcome, answers, milliseconds: performance.now() - startedMs });
    };
    const timer = setTimeout(() => finish(`no response within ${timeoutMs / 1000} s`), timeoutMs);
    try {
      socket = connect(server);
    } catch (error) {
      finish((error as Error).message);
      return;
    }
    const chunks: Buffer[] = [];
    socket.on('error', (error) => finish(error.message));
    socket.on('end', () => finish('connection closed without a response'));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      if (bytes.length < 2 || bytes.length < 2 + bytes.readUInt16BE(0)) return;
      try {
        const { answers = [], rcode } = streamDecode(bytes) as ReturnType<typeof decode> & { rcode: string };
        finish(rcode, answers);
      } catch (error) {
        finish(`malformed response: ${(error as Error).message}`);
      }
    });
    const question = { type, name: name.replace(/\.$/, '') };
    socket.write(streamEncode({ type: 'query', id: 1, flags: RECURSION_DESIRED, questions: [question] }));
  });
}

/** `web.default.svc.cluster.local. 5 IN A 10.96.3.3`, as dig prints a record. */
export function recordText(answer: Answer): string {
  const { name, type } = answer;
  const ttl = 'ttl' in answer ? (answer.ttl ?? 0) : 0;
  return `${name.replace(/\.?$/, '.')} ${ttl} IN ${type} ${dataText(answer)}`;
}

function dataText(answer: Answer): string {
  if (answer.type === 'SRV') {
    const { priority = 0, weight = 0, port, target } = answer.data;
    return `${priority} ${weight} ${port} ${target.replace(/\.?$/, '.')}`;
  }
  const { data } = answer as { data: unknown };
  if (answer.type === 'TXT')
    return [data]
      .flat()
      .map((text) => JSON.stringify(String(text)))
      .join(' ');
  return typeof data === 'string'
    ? /[a-z]$/i.test(data) && answer.type !== 'AAAA'
      ? `${data}.`
      : data
    : JSON.stringify(data);
}
