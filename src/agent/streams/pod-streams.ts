/**
 * The part of kubelet's own API that users reach through the API server: logs, exec, attach, port-forward, and plain
 * connections to pods. Paths are kubelet's (pkg/kubelet/server). Served on the agent's unix socket; the API server does
 * the authorization.
 *
 *   GET     /containerLogs/NAMESPACE/POD/CONTAINER
 *   upgrade /exec/NAMESPACE/POD/CONTAINER  /attach/NAMESPACE/POD/CONTAINER  /portForward/NAMESPACE/POD
 *   CONNECT ADDRESS:PORT                  from the node's network namespace
 */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { ApiError, badRequest, internalError } from '../../api/errors.ts';
import { drained } from '../../net/drained.ts';
import { execCommand } from '../../runtime/container/exec.ts';
import { hasLog, type LogOptions, readLog } from '../../runtime/container/log-reader.ts';
import { podDirectory } from '../../runtime/container/logs.ts';
import { netnsPathOf } from '../../runtime/pod/sandbox.ts';
import { type PodState, readState } from '../../runtime/state.ts';
import { attachToContainer } from './attach.ts';
import type { ChannelRequest, CommandChannels } from './command-channels.ts';
import { dialPod, portForwardOverSpdy, portForwardOverWebSocket } from './port-forward.ts';
import { runRemoteCommand } from './remote-command.ts';
import { spdyChannels } from './spdy-channels.ts';
import { webSocketChannels } from './web-socket-channels.ts';

const LAST_PORT = 65535;

interface Target {
  action: string;
  namespace: string;
  pod: string;
  container: string;
  query: URLSearchParams;
}

function targetOf(url: string): Target {
  const { pathname, searchParams } = new URL(url, 'http://agent');
  const [action = '', namespace = '', pod = '', container = ''] = pathname.split('/').slice(1).map(decodeURIComponent);
  return { action, namespace, pod, container, query: searchParams };
}

/** Serves these paths for the pods of one node. */
export class PodStreams {
  private readonly stateDir: string;

  constructor(stateDir: string) {
    this.stateDir = stateDir;
  }

  /** Handle a plain request, if its path is one of these. @returns whether it was */
  serve(request: IncomingMessage, response: ServerResponse): boolean {
    const target = targetOf(request.url ?? '/');
    if (request.method !== 'GET' || target.action !== 'containerLogs') return false;
    this.log(target, response).catch((error: Error) => {
      if (response.headersSent) response.destroy();
      else refuse(response, error);
    });
    return true;
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    this.stream(request, socket, head).catch((error: Error) => {
      socket.end(plainAnswer(error));
    });
  }

  /** CONNECT: a connection from this node, for the API server's proxy. */
  connect(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // A client that is gone before the answer must not end the agent.
    socket.on('error', () => socket.destroy());
    const match = /^\[?([0-9a-f.:]+?)\]?:(\d{1,5})$/i.exec(request.url ?? '');
    if (match === null || Number(match[2]) > LAST_PORT) {
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
      return;
    }
    const peer = connect({ host: match[1]!, port: Number(match[2]), allowHalfOpen: true });
    socket.on('close', () => peer.destroy());
    peer.once('connect', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      peer.write(head);
      socket.pipe(peer);
      peer.pipe(socket);
    });
    peer.on('error', (error) => {
      if (peer.connecting || peer.bytesRead === 0)
        socket.end(`HTTP/1.1 502 ${error.message}\r\nconnection: close\r\n\r\n`);
      else socket.destroy();
    });
  }

  private stateOf({ namespace, pod }: Target): PodState {
    const state = readState(podDirectory(this.stateDir, namespace, pod));
    if (state === undefined) throw badRequest(`pod ${pod} does not run on this node`);
    return state;
  }

  private async log(target: Target, response: ServerResponse): Promise<void> {
    const { namespace, pod, container } = target;
    const state = this.stateOf(target);
    const options = logOptions(target.query);
    const record = state.containers[container];
    const place = { stateDir: this.stateDir, namespace, pod, container };
    if (!hasLog(place, options.previous === true)) {
      if (options.previous) {
        throw badRequest(`previous terminated container "${container}" in pod "${pod}" not found`);
      }
      const why = record?.reason ?? 'ContainerCreating';
      throw badRequest(`container "${container}" in pod "${pod}" is waiting to start: ${why}`);
    }
    const instance = record?.instances;
    const ended = () => {
      const now = readState(podDirectory(this.stateDir, namespace, pod))?.containers[container];
      return now === undefined || now.instances !== instance || now.phase === 'terminated' || now.phase === 'waiting';
    };
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.flushHeaders();
    for await (const piece of readLog(place, options, ended, gone.signal)) {
      if (!response.write(piece)) await drained(response);
      if (response.destroyed) return;
    }
    response.end();
  }

  private async stream(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const target = targetOf(request.url ?? '/');
    const { action, query } = target;
    const spdy = /^spdy\//i.test(request.headers.upgrade ?? '');
    if (action === 'portForward') {
      const { netnsName } = this.stateOf(target);
      // A pod with hostNetwork is in the namespace of this process.
      const dial = dialPod(netnsName === '' ? '/proc/self/ns/net' : netnsPathOf(netnsName));
      const ports = query
        .getAll('port')
        .concat(query.getAll('ports'))
        .flatMap((text) => text.split(','))
        .map(Number);
      return spdy
        ? portForwardOverSpdy(request, socket, dial)
        : portForwardOverWebSocket(
            request,
            socket,
            head,
            dial,
            ports.filter((port) => port > 0 && port < 65536),
          );
    }
    if (action !== 'exec' && action !== 'attach') throw badRequest(`${request.url}: no such action`);
    const serve =
      action === 'exec' ? this.exec(target) : attachToContainer(this.stateDir, target, this.stateOf(target));
    const wanted = channelRequest(query);
    const channels = await (spdy
      ? spdyChannels(request, socket, wanted)
      : webSocketChannels(request, socket, head, wanted));
    if (channels !== undefined) await serve(channels, wanted.tty);
  }

  /** Everything that can be checked before the connection is upgraded. */
  private exec(target: Target): (channels: CommandChannels, tty: boolean) => Promise<void> {
    const { namespace, pod, container, query } = target;
    const command = query.getAll('command');
    if (command.length === 0) throw badRequest('you must specify at least 1 command for the container');
    const environment = flag(query, 'tty') ? ['TERM=xterm'] : [];
    let line: ReturnType<typeof execCommand>;
    try {
      line = execCommand({ stateDir: this.stateDir, namespace, pod, container, command, environment });
    } catch (error) {
      throw internalError((error as Error).message);
    }
    return (channels, tty) => runRemoteCommand(line, channels, tty);
  }
}

const flag = (query: URLSearchParams, name: string): boolean => ['true', '1'].includes(query.get(name) ?? '');

/** Reads the API's parameter names, and kubelet's older ones for the same. */
function channelRequest(query: URLSearchParams): ChannelRequest {
  const either = (name: string, old: string) => flag(query, name) || flag(query, old);
  return {
    stdin: either('stdin', 'input'),
    stdout: either('stdout', 'output'),
    stderr: either('stderr', 'error'),
    tty: flag(query, 'tty'),
  };
}

function logOptions(query: URLSearchParams): LogOptions {
  const number = (name: string) => (query.has(name) ? Number(query.get(name)) : undefined);
  const sinceSeconds = number('sinceSeconds');
  const sinceTime = query.get('sinceTime');
  return {
    follow: flag(query, 'follow'),
    timestamps: flag(query, 'timestamps'),
    previous: flag(query, 'previous'),
    tailLines: number('tailLines'),
    limitBytes: number('limitBytes'),
    sinceMs:
      sinceSeconds !== undefined
        ? Date.now() - sinceSeconds * 1000
        : sinceTime !== null
          ? Date.parse(sinceTime)
          : undefined,
  };
}

/** Any error as an API error, which the API server passes on unchanged. */
const asApiError = (error: Error): ApiError => (error instanceof ApiError ? error : internalError(error.message));

function refuse(response: ServerResponse, error: Error): void {
  const { code, status } = asApiError(error);
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify(status));
}

/** The response to a rejected upgrade. */
function plainAnswer(error: Error): string {
  const { code, status } = asApiError(error);
  const body = JSON.stringify(status);
  const head = [
    `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ''}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}
