/** Runs a capture on the nodes of this machine: for `dataplane capture` and `dataplane extcap`. */
import { compileFilter } from '../../../native-free-dataplane/filter/compile.ts';
import { FilterError } from '../../../native-free-dataplane/filter/filter-error.ts';
import { ANY_PORT, type CaptureSettings, LEASE_MS } from '../../../native-free-dataplane/live-capture/memory.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { listShared } from '../../linux/shm-files.ts';
import { followCaptures } from '../../observe/capture/follow.ts';
import { CaptureUnavailable, NodeCapture } from '../../observe/capture/node-capture.ts';
import { OutputClosed } from '../../observe/capture/output-file.ts';
import type { CapturedPacket } from '../../observe/capture/packet.ts';
import { NodePorts, type PortIdentity } from '../../observe/capture/ports.ts';
import { serviceFilter } from '../../observe/capture/service-filter.ts';
import { Names, NO_OBJECTS } from '../../observe/trace/names.ts';
import { nodesWith, SHM_PREFIX } from '../../shm-names.ts';
import { BRING_UP, failed, NOT_UP, usageError } from '../errors.ts';
import { withClient } from '../with-client.ts';
import { readNamedObjects } from './trace.ts';

/** How often names are read again while a port without one is captured, in milliseconds. */
const REFRESH_MS = 2000;

export interface CaptureRequest {
  /** Only this node. */
  readonly node: string | undefined;
  /** Only the port of this pod: NAMESPACE/NAME, or its address. */
  readonly pod: string | undefined;
  /** Bits of Point. */
  readonly points: number;
  readonly snapBytes: number;
  readonly filter: string;
  /**
   * Starts the capture on a node, by calling `begin`, at the right moment. `abandon` ends it again, for another attempt.
   * Default: at once.
   */
  readonly startNode?: (node: string, begin: () => void, abandon: () => void) => void;
}

/** Receives the frames of a capture. */
export interface CaptureSink {
  packets(packets: readonly CapturedPacket[], portOf: (packet: CapturedPacket) => PortIdentity, names: Names): void;
  note(text: string): void;
}

export interface CaptureResult {
  readonly captured: number;
  readonly lost: number;
  lostAt(port: PortIdentity): number;
}

/** The names of pods, services and nodes; empty if the API does not respond. */
export async function readNames(): Promise<Names> {
  try {
    return new Names(await withClient(readNamedObjects));
  } catch {
    return new Names(NO_OBJECTS);
  }
}

/** The packets of a Service that also pass this filter. @throws CliError */
export async function filterOfService(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  filter: string,
): Promise<string> {
  const [services, slices, nodes] = await withClient((client) =>
    Promise.all([client.list('Service'), client.list('EndpointSlice'), client.list('Node')]),
  );
  const service = services.items.find(
    ({ metadata }) => metadata.name === name && (metadata.namespace ?? 'default') === namespace,
  );
  if (service === undefined)
    throw failed(`there is no service ${name} in namespace ${namespace}`, 'see `dataplane get services`');
  const own = serviceFilter(service, slices.items, nodes.items);
  if (own === undefined) throw failed(`service ${name} has neither an address nor an endpoint`);
  const both = filter === '' ? own : `(${own}) and (${filter})`;
  checkFilter(both);
  return both;
}

/** Check a filter. @throws CliError with the position of the mistake */
export function checkFilter(filter: string): void {
  try {
    compileFilter(filter, { inside: true });
  } catch (error) {
    if (error instanceof FilterError) throw usageError(`filter "${filter}", ${error.message}`);
    throw error;
  }
}

/** Nodes of this machine. @throws CliError if there are none, or not the one that is wanted */
export function captureNodes(wanted: string | undefined): string[] {
  const present = nodesWith('capture', listShared(SHM_PREFIX));
  if (present.length === 0) throw failed(NOT_UP, BRING_UP);
  if (wanted === undefined) return present;
  if (present.includes(wanted)) return [wanted];
  throw failed(`there is no node "${wanted}" on this machine`, `expected one of ${present.join(', ')}`);
}

/** A capture that has started. */
export class Capture {
  readonly nodes: readonly string[];
  names: Names;
  private readonly ports = new Map<string, NodePorts>();
  private readonly captures: NodeCapture[] = [];
  private refreshedMs = monotonicMs();

  /** @throws CliError */
  constructor(request: CaptureRequest, names: Names) {
    this.names = names;
    this.nodes = captureNodes(undefined);
    const wanted = captureNodes(request.node);
    try {
      for (const node of wanted) this.ports.set(node, new NodePorts(node));
      const pod = request.pod === undefined ? undefined : this.findPod(request.pod);
      const { startNode = (_: string, begin: () => void) => begin() } = request;
      for (const node of pod === undefined ? wanted : [pod.node]) {
        const begin = (): void => this.start(node, pod?.port ?? ANY_PORT, request);
        startNode(node, begin, () => this.abandon());
      }
    } catch (error) {
      this.close();
      if (error instanceof CaptureUnavailable)
        throw failed(error.message, `end one of them, or wait ${LEASE_MS / 1000} seconds`);
      throw error;
    }
  }

  private start(node: string, port: number, { filter, points, snapBytes }: CaptureRequest): void {
    const vxlanPort = (this.ports.get(node) as NodePorts).vxlanPort;
    const program = compileFilter(filter, { vxlanPort, inside: true });
    const settings: CaptureSettings = { points, snapBytes, port, program };
    this.captures.push(new NodeCapture(node, settings, monotonicMs()));
  }

  /** End the capture that was started last. */
  private abandon(): void {
    const last = this.captures.pop();
    last?.end();
    last?.close();
  }

  private findPod(pod: string): { node: string; port: number } {
    const [namespace, name] = pod.split('/');
    const found = this.names.objects.pods.find(
      ({ metadata }) => metadata.name === name && (metadata.namespace ?? 'default') === namespace,
    );
    const address = pod.includes('/') ? found?.status?.podIP : pod;
    for (const [node, ports] of this.ports) {
      const port = address === undefined ? undefined : ports.portOf(address);
      if (port !== undefined) return { node, port };
    }
    throw failed(`no node of this machine has pod ${pod}`, 'see `dataplane get pods`, or give its address');
  }

  /** The nodes on which frames are captured. */
  get places(): string[] {
    return this.captures.map(({ node }) => node);
  }

  readonly portOf = ({ node, port }: CapturedPacket): PortIdentity =>
    (this.ports.get(node) as NodePorts).identity(port, this.names);

  /** Capture until `ended`, or until `limit` frames have been captured. */
  async run(sink: CaptureSink, ended: AbortController, limit: number): Promise<CaptureResult> {
    let captured = 0;
    let unnamed = false;
    let failure: unknown;
    await followCaptures(this.captures, {
      ended: ended.signal,
      onPackets: (all) => {
        const packets = all.slice(0, limit - captured);
        if (failure !== undefined || packets.length === 0) return;
        captured += packets.length;
        unnamed ||= packets.some((packet) => packet.port !== 0 && this.portOf(packet).pod === undefined);
        try {
          sink.packets(packets, this.portOf, this.names);
          if (captured >= limit) ended.abort();
        } catch (error) {
          failure = error;
          ended.abort();
        }
      },
      onGone: (reason) => sink.note(reason),
      onRenewed: async () => {
        if (!unnamed || monotonicMs() - this.refreshedMs < REFRESH_MS) return;
        this.refreshedMs = monotonicMs();
        unnamed = false;
        const names = await readNames();
        if (names.objects.pods.length > 0) this.names = names;
      },
    });
    if (failure !== undefined && !(failure instanceof OutputClosed)) throw failure;
    return this.result(captured);
  }

  private result(captured: number): CaptureResult {
    const lost = new Map<PortIdentity, number>();
    let all = 0;
    for (const capture of this.captures) {
      for (const [port, count] of capture.totals()) {
        const identity = (this.ports.get(capture.node) as NodePorts).identity(port, this.names);
        lost.set(identity, (lost.get(identity) ?? 0) + count.lost);
        all += count.lost;
      }
    }
    return { captured, lost: all, lostAt: (port) => lost.get(port) ?? 0 };
  }

  close(): void {
    for (const capture of this.captures) {
      capture.end();
      capture.close();
    }
    for (const ports of this.ports.values()) ports.close();
  }
}
