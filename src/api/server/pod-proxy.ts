/**
 * Requests that a node's agent serves (src/agent/streams): logs, exec, attach and port-forward of pods, and HTTP to
 * pods, services and nodes through `/proxy`. This module finds the object, checks the request, and relays bytes in both
 * directions.
 */
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { containerNamed } from '../containers.ts';
import { badRequest, internalError, notFound, serviceUnavailable } from '../errors.ts';
import { type Resource, resourceOfKind } from '../resources.ts';
import type { Store } from '../store/store.ts';
import type { Pod } from '../types/objects.ts';
import { proxyTarget } from './proxy-target.ts';

/** Path of the unix socket of a node's agent; undefined if the agent cannot be reached from here. */
export type AgentSocket = (node: string) => string | undefined;

const PODS = resourceOfKind('Pod')!;
/** Subresource of a pod → the agent's action. */
const ACTIONS: Readonly<Record<string, string>> = {
  log: 'containerLogs',
  exec: 'exec',
  attach: 'attach',
  portforward: 'portForward',
};
const DEFAULT_CONTAINER = 'kubectl.kubernetes.io/default-container';
/** Headers that are not forwarded: hop-by-hop (RFC 9110 §7.6.1), or for this server only. */
const NOT_HANDED_ON = new Set(['authorization', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer']);

export class PodProxy {
  private readonly store: Store;
  private readonly agentSocket: AgentSocket;

  constructor(store: Store, agentSocket: AgentSocket) {
    this.store = store;
    this.agentSocket = agentSocket;
  }

  /** Serves a plain request if it is one of these; false otherwise. @throws ApiError */
  serve(request: IncomingMessage, response: ServerResponse): boolean {
    const found = this.find(request);
    if (found === undefined) return false;
    if (found === 'empty log') {
      response.writeHead(200, { 'content-type': 'text/plain' }).end();
      return true;
    }
    if (found.kind === 'stream') throw badRequest('Upgrade request required');
    const { socketPath, path, through } = found;
    const headers = handedOn(request);
    const outgoing = httpRequest({
      method: request.method,
      path,
      headers,
      // Without `agent`: an agent would ignore createConnection.
      ...(through === undefined
        ? { socketPath, agent: false }
        : {
            createConnection: (_options: object, done: Connected) => openTunnel(socketPath, through, done) as undefined,
          }),
    });
    outgoing.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.headers);
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    outgoing.on('error', (error) => {
      if (response.headersSent) return response.destroy();
      const { code, status } = serviceUnavailable(`error trying to reach ${found.what}: ${error.message}`);
      response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(status));
    });
    response.on('close', () => outgoing.destroy());
    request.pipe(outgoing);
    return true;
  }

  /** Takes over a connection that is upgraded. @throws ApiError if the path is none of these or cannot be upgraded */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    const found = this.find(request);
    if (found === undefined || found === 'empty log') return false;
    const { socketPath, through } = found;
    if (through === undefined) this.join(request, socket, head, found.path, connect(socketPath));
    else {
      openTunnel(socketPath, through, (error, peer) => {
        if (error === null) this.join(request, socket, head, found.path, peer);
        else socket.end(unreachable(error));
      });
    }
    return true;
  }

  /** Forwards the request, and then all bytes in both directions. */
  private join(request: IncomingMessage, socket: Duplex, head: Buffer, path: string, agent: Duplex): void {
    const lines = [`${request.method} ${path} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      const name = request.rawHeaders[i]!;
      if (name.toLowerCase() !== 'authorization') lines.push(`${name}: ${request.rawHeaders[i + 1]}`);
    }
    agent.write(`${lines.join('\r\n')}\r\n\r\n`);
    agent.write(head);
    agent.pipe(socket);
    socket.pipe(agent);
    let answered = false;
    agent.once('data', () => {
      answered = true;
    });
    agent.on('error', (error) => {
      if (answered) socket.destroy();
      else socket.end(unreachable(error));
    });
    // The agent's last bytes may still be in flight: end the socket, do not destroy it.
    agent.on('close', () => socket.end());
    socket.on('error', () => agent.destroy());
    socket.on('close', () => agent.destroy());
  }

  /** The target of a request; undefined if the path is none of these. */
  private find(request: IncomingMessage): Found | EmptyLog | undefined {
    const url = request.url ?? '/';
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    const query = mark < 0 ? '' : url.slice(mark);
    const [, api, version, ...parts] = path.split('/');
    if (api !== 'api' || version !== 'v1') return undefined;
    if (parts[0] === 'namespaces' && parts[2] === 'pods' && parts.length === 5 && ACTIONS[parts[4]!] !== undefined) {
      const [namespace, name] = [decodeURIComponent(parts[1]!), decodeURIComponent(parts[3]!)];
      return this.podAction(parts[4]!, namespace, name, new URLSearchParams(query));
    }
    const target = proxyTarget(this.store, parts, query);
    if (target === undefined) return undefined;
    const { node, address, what } = target;
    return { kind: 'plain', socketPath: this.socketOf(node), path: target.path, what, through: address };
  }

  private podAction(subresource: string, namespace: string, name: string, query: URLSearchParams): Found | EmptyLog {
    const pod = this.store.get('Pod', namespace, name);
    if (pod === undefined) throw notFound(PODS as Resource, name);
    const node = pod.spec.nodeName;
    const path = [ACTIONS[subresource]!, namespace, name];
    if (subresource !== 'portforward') path.push(containerOf(pod, query.get('container') ?? ''));
    if (subresource === 'log') checkLogOptions(query);
    if (!node && subresource === 'log') return 'empty log';
    if (!node) throw badRequest(`pod ${name} does not have a host assigned`);
    const text = query.toString();
    return {
      kind: subresource === 'log' ? 'plain' : 'stream',
      socketPath: this.socketOf(node),
      path: `/${path.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`,
      what: `the agent of node ${node}`,
      through: undefined,
    };
  }

  private socketOf(node: string): string {
    const path = this.agentSocket(node);
    if (path === undefined) throw internalError(`the agent of node ${node} cannot be reached from here`);
    return path;
  }
}

type Connected = (error: Error | null, socket: Duplex) => void;

/** The log of a pod that has no node yet. */
type EmptyLog = 'empty log';

interface Found {
  kind: 'plain' | 'stream';
  socketPath: string;
  /** Including the query. */
  path: string;
  /** For error messages. */
  what: string;
  /** `address:port` to reach through the agent; undefined: the agent itself. */
  through: string | undefined;
}

/** The container that the request means (registry/core/pod/strategy.go). @throws ApiError 400 */
function containerOf(pod: Pod, asked: string): string {
  const { name, annotations } = pod.metadata;
  const { containers, initContainers = [] } = pod.spec;
  if (asked !== '') {
    if (!containerNamed(pod.spec, asked)) throw badRequest(`container ${asked} is not valid for pod ${name}`);
    return asked;
  }
  const preferred = annotations?.[DEFAULT_CONTAINER];
  if (preferred !== undefined && containers.some((c) => c.name === preferred)) return preferred;
  if (containers.length === 1) return containers[0]!.name;
  const list = (all: readonly { name: string }[]) => `[${all.map((c) => c.name).join(' ')}]`;
  const init = initContainers.length > 0 ? ` or one of the init containers: ${list(initContainers)}` : '';
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: ${list(containers)}${init}`);
}

/** core/v1 validation, ValidatePodLogOptions. @throws ApiError 400 */
function checkLogOptions(query: URLSearchParams): void {
  const whole = (name: string, least: number) => {
    const text = query.get(name);
    if (text === null) return;
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < least) {
      throw badRequest(`${name}: Invalid value: "${text}": must be a whole number of ${least} or more`);
    }
  };
  whole('tailLines', 0);
  whole('limitBytes', 1);
  whole('sinceSeconds', 1);
  const since = query.get('sinceTime');
  if (since !== null && Number.isNaN(Date.parse(since))) {
    throw badRequest(`sinceTime: Invalid value: "${since}": must be a time such as 2026-01-02T15:04:05Z`);
  }
  if (since !== null && query.has('sinceSeconds')) {
    throw badRequest('at most one of `sinceTime` or `sinceSeconds` may be specified');
  }
}

function handedOn(request: IncomingMessage): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !NOT_HANDED_ON.has(name)) headers[name] = value;
  }
  return headers;
}

/** The response to an upgrade request when the agent cannot be reached. */
function unreachable(error: Error): string {
  const body = JSON.stringify(serviceUnavailable(`error trying to reach service: ${error.message}`).status);
  return `HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
}

/** A connection from a node's network to `address:port`, through its agent (HTTP CONNECT, RFC 9110 §9.3.6). */
function openTunnel(socketPath: string, address: string, done: (error: Error | null, socket: Duplex) => void): void {
  const asked = httpRequest({ socketPath, method: 'CONNECT', path: address, agent: false });
  asked.on('connect', (answer, socket, head) => {
    if (head.length > 0) socket.unshift(head);
    if (answer.statusCode === 200) return done(null, socket);
    socket.destroy();
    done(new Error(answer.statusMessage), socket);
  });
  asked.on('error', (error) => done(error, undefined as unknown as Duplex));
  asked.end();
}
