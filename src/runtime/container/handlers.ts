/** One attempt of a probe or a lifecycle hook: exec, HTTP, TCP, gRPC (kubelet's pkg/probe). */
import { spawn } from 'node:child_process';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import type { Container, Handler } from '../../api/types/objects.ts';
import type { CommandLine } from './exec.ts';

const MAX_BODY_BYTES = 10 * 1024;

export interface HandlerTarget {
  podIP: string;
  container: Container;
  /** The command line that runs a command in the container. @throws Error if it is not running */
  commandLine(command: readonly string[]): CommandLine;
}

export interface Outcome {
  ok: boolean;
  /** The response, or the reason there was none. */
  message: string;
}

/** Never rejects. */
export async function runHandler(
  handler: Handler & { sleep?: { seconds: number } },
  target: HandlerTarget,
  timeoutMs: number,
): Promise<Outcome> {
  try {
    if (handler.exec) return await runCommand(target.commandLine(handler.exec.command), timeoutMs);
    if (handler.httpGet) return await getHttp(handler.httpGet, target, timeoutMs);
    if (handler.tcpSocket) {
      const { host, port } = handler.tcpSocket;
      return await connectTcp(host || target.podIP, portOf(port, target.container), timeoutMs);
    }
    if (handler.grpc) {
      const { port, service = '' } = handler.grpc;
      // Loading HTTP/2 takes longer than the rest of this module, and few pods have such a probe.
      const { checkGrpcHealth } = await import('./grpc-health.ts');
      return { ok: true, message: await checkGrpcHealth({ host: target.podIP, port, service }, timeoutMs) };
    }
    if (handler.sleep) await new Promise((resolve) => setTimeout(resolve, handler.sleep!.seconds * 1000));
    return { ok: true, message: '' };
  } catch (error) {
    return { ok: false, message: (error as Error).message };
  }
}

/** @throws Error if no port has that name */
function portOf(port: number | string, container: Container): number {
  if (typeof port === 'number') return port;
  const named = container.ports?.find(({ name }) => name === port)?.containerPort;
  if (named !== undefined) return named;
  const value = Number(port);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`container "${container.name}" has no port named "${port}"`);
}

/** kubelet follows redirects only within the host; any 2xx or 3xx is a success. */
function getHttp(
  { path = '/', port, host, scheme, httpHeaders }: NonNullable<Handler['httpGet']>,
  target: HandlerTarget,
  timeoutMs: number,
): Promise<Outcome> {
  const headers: Record<string, string> = { 'User-Agent': 'kube-probe/1.32', Accept: '*/*', Connection: 'close' };
  for (const { name, value } of httpHeaders ?? []) headers[name] = value;
  const options = {
    host: host || target.podIP,
    port: portOf(port, target.container),
    path: path.startsWith('/') ? path : `/${path}`,
    headers,
    agent: false as const,
    rejectUnauthorized: false,
  };
  return new Promise((resolve) => {
    const request = (scheme === 'HTTPS' ? httpsRequest : httpRequest)(options, (response) => {
      const status = response.statusCode ?? 0;
      let received = 0;
      response.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received > MAX_BODY_BYTES) response.destroy();
      });
      response.on('error', () => {});
      response.on('close', () => {
        const ok = status >= 200 && status < 400;
        finish({ ok, message: ok ? `HTTP ${status}` : `HTTP probe failed with statuscode: ${status}` });
      });
    });
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const finish = (outcome: Outcome) => {
      clearTimeout(timer);
      resolve(outcome);
    };
    request.on('error', (error) => finish({ ok: false, message: `Get "${path}": ${error.message}` }));
    request.end();
  });
}

function connectTcp(host: string, port: number, timeoutMs: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const finish = (ok: boolean, message: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ ok, message });
    };
    const timer = setTimeout(
      () => finish(false, `dial tcp ${host}:${port}: no answer within ${timeoutMs} ms`),
      timeoutMs,
    );
    socket.once('connect', () => finish(true, 'connected'));
    socket.once('error', (error) => finish(false, error.message));
  });
}

function runCommand({ file, args }: CommandLine, timeoutMs: number): Promise<Outcome> {
  return new Promise((resolve) => {
    // A process group of its own: nsenter forks, and both processes have to end.
    const child = spawn(file, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
    let output = '';
    const collect = (chunk: Buffer) => {
      if (output.length < MAX_BODY_BYTES) output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const finish = (outcome: Outcome) => {
      clearTimeout(timer);
      child.stdout.destroy();
      child.stderr.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // It has just ended.
      }
      finish({ ok: false, message: `command timed out after ${timeoutMs} ms` });
    }, timeoutMs);
    child.once('error', (error) => finish({ ok: false, message: error.message }));
    child.once('exit', (code) => {
      // Its last output may still be in transit.
      setImmediate(() => finish({ ok: code === 0, message: output.trim() || `exit status ${code}` }));
    });
  });
}
