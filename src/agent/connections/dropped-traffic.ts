/**
 * Events on the pods of this node whose traffic does not arrive: a policy denies it, the Service has no endpoint, the
 * connection table is full. Workers note such packets anyway (drops/ring.ts); here they are read once a second.
 *
 * Bounded, whatever is sent: so many packets and reports a round, the same report at most once a minute, and the recorder
 * of events has its own limits for each object.
 */
import { ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import type { NumberedRule } from '../../../native-free-dataplane/policies/rules.ts';
import type { PolicyTable } from '../../../native-free-dataplane/policies/table.ts';
import type { DroppedPacket } from '../../../native-free-dataplane/print/drop.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import type { Counters } from '../../../native-free-dataplane/shared/counters.ts';
import { verdictName } from '../../../native-free-dataplane/verdicts.ts';
import { hasPorts } from '../../../native-free-dataplane/wire/ports.ts';
import type { Pod, Service } from '../../api/types/objects.ts';
import { DropReader, denyingRule } from '../../observe/drops/reader.ts';
import type { RecordEvent } from '../events.ts';
import type { Part } from '../parts.ts';
import type { NodePolicies } from '../policies/node-policies.ts';
import { ipOfPod, servicesOf } from './refused.ts';

export interface DroppedTrafficOptions {
  readonly tables: { readonly counters: Pick<Counters, 'drops'>; readonly policies: PolicyTable };
  readonly nodeName: string;
  /** Those of this node. */
  readonly pods: () => readonly Pod[];
  readonly services: () => Iterable<Service>;
  readonly policies: Pick<NodePolicies, 'podAt'>;
  readonly recordEvent: RecordEvent;
  readonly now?: () => number;
}

const PERIOD_MS = 1000;
/** Packets that are looked at in one round, and how many of them can be reported. */
const MAX_PACKETS = 256;
const MAX_REPORTS = 16;
const AGAIN_MS = 60_000;
/** Reports that are remembered. */
const MAX_KNOWN = 2048;

type Cause =
  | 'policy-egress'
  | 'policy-ingress'
  | 'no-endpoint'
  | 'no-local-endpoint'
  | 'full'
  | 'share'
  | 'not-declared';

/** By the verdict's name. */
const CAUSES: ReadonlyMap<string, Cause> = new Map<string, Cause>([
  ['policy-egress', 'policy-egress'],
  ['policy-ingress', 'policy-ingress'],
  ['rejected-tcp-reset', 'no-endpoint'],
  ['rejected-port-unreachable', 'no-endpoint'],
  ['no-endpoint-silent', 'no-endpoint'],
  ['local-policy-drop', 'no-local-endpoint'],
  ['conntrack-full', 'full'],
  ['conntrack-share', 'share'],
  ['port-not-declared', 'not-declared'],
  ['port-not-declared-silent', 'not-declared'],
]);

/** Causes that lie with the receiver, which gets an event too. */
const ABOUT_RECEIVER: ReadonlySet<Cause> = new Set<Cause>(['policy-ingress', 'not-declared']);

const REASONS: Readonly<Record<Cause, string>> = {
  'policy-egress': 'PolicyDenied',
  'policy-ingress': 'PolicyDenied',
  'no-endpoint': 'NoEndpoint',
  'no-local-endpoint': 'NoEndpoint',
  full: 'ConnectionTableFull',
  share: 'ConnectionShareUsed',
  'not-declared': 'PortNotDeclared',
};

interface Dropped {
  readonly verdict: number;
  readonly packet: DroppedPacket;
  /** After translation. */
  readonly target: { readonly ip: string; readonly port: number };
  /** Pods of this node; undefined for other ends, and for a receiver that gets no event. */
  readonly sender: Pod | undefined;
  readonly receiver: Pod | undefined;
  /** Of a policy, if it denied the packet. */
  readonly rule: NumberedRule | undefined;
}

export class DroppedTraffic implements Part {
  private readonly options: DroppedTrafficOptions;
  private readonly reader: DropReader;
  private readonly reported = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;

  constructor(options: DroppedTrafficOptions) {
    this.options = options;
    this.reader = new DropReader(options.tables.counters);
  }

  start(): void {
    this.timer = setInterval(() => this.check(), PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** One round, each second. */
  check(): void {
    let local: Map<string, Pod> | undefined;
    let reports = 0;
    this.reader.read((drop) => {
      const { verdict, packet } = drop;
      const cause = CAUSES.get(verdictName(verdict));
      if (cause === undefined || packet === undefined || reports === MAX_REPORTS) return;
      local ??= new Map(this.options.pods().map((pod) => [ipOfPod(pod) ?? '', pod]));
      const target = packet.endpoint ?? { ip: packet.dst, port: packet.dstPort };
      const sender = local.get(packet.src);
      // A connection counts for the pod that opens it, and for its receiver only if it comes from elsewhere (shares.ts).
      const isAboutReceiver = ABOUT_RECEIVER.has(cause) || (cause === 'share' && sender === undefined);
      const receiver = isAboutReceiver ? local.get(target.ip) : undefined;
      if ((sender ?? receiver) === undefined) return;
      if (!this.isNew(`${verdict} ${packet.src} ${packet.dst} ${target.ip}:${target.port}/${packet.protocol}`)) return;
      reports++;
      const rule = denyingRule(this.options.tables.policies, drop);
      this.report(cause, { verdict, packet, target, sender, receiver, rule });
    }, MAX_PACKETS);
  }

  private isNew(key: string): boolean {
    const nowMs = this.options.now?.() ?? Date.now();
    const before = this.reported.get(key);
    if (before !== undefined && nowMs - before < AGAIN_MS) return false;
    this.reported.delete(key);
    this.reported.set(key, nowMs);
    if (this.reported.size > MAX_KNOWN) this.reported.delete(this.reported.keys().next().value as string);
    return true;
  }

  private report(cause: Cause, dropped: Dropped): void {
    const { packet, target, sender, receiver } = dropped;
    const { recordEvent } = this.options;
    const why = `${this.why(cause, dropped)} (${verdictName(dropped.verdict)})`;
    const reason = REASONS[cause];
    const protocol = protocolName(packet.protocol).toUpperCase();
    const port = hasPorts(packet.protocol) ? ` port ${target.port}` : '';
    if (sender !== undefined) recordEvent(sender, 'Warning', reason, `${protocol} to ${this.nameOf(packet)}: ${why}`);
    if (receiver !== undefined) {
      recordEvent(receiver, 'Warning', reason, `${protocol}${port} from ${this.podName(packet.src)}: ${why}`);
    }
  }

  private why(cause: Cause, { rule }: Dropped): string {
    switch (cause) {
      case 'policy-egress':
        return denial(rule, 'egress');
      case 'policy-ingress':
        return denial(rule, 'ingress');
      case 'no-endpoint':
        return 'the Service has no ready endpoint';
      case 'no-local-endpoint':
        return 'the Service has traffic policy Local and no ready endpoint on this node';
      case 'full':
        return `the connection table of node ${this.options.nodeName} is full`;
      case 'share':
        return `this pod holds its share of the connection table of node ${this.options.nodeName}`;
      case 'not-declared':
        return 'no container of the pod declares this port';
    }
  }

  /** The destination as the sender knows it. */
  private nameOf({ dst, dstPort, protocol, endpoint }: DroppedPacket): string {
    const asked = { source: '', target: dst, protocol, port: dstPort };
    const [service] = hasPorts(protocol) ? servicesOf(asked, this.options.services()) : [];
    const port = hasPorts(protocol) ? `:${dstPort}` : '';
    if (service === undefined) return `${this.podName(dst)}${port}`;
    const chosen = endpoint === undefined ? '' : `, endpoint ${this.podName(endpoint.ip)}:${endpoint.port}`;
    return `service ${service.metadata.namespace}/${service.metadata.name}${port} (${dst}${chosen})`;
  }

  private podName(ip: string): string {
    const pod = this.options.policies.podAt(ip);
    return pod === undefined ? ip : `pod ${pod.metadata.namespace}/${pod.metadata.name} (${ip})`;
  }
}

function denial(rule: NumberedRule | undefined, direction: 'ingress' | 'egress'): string {
  return rule === undefined ? `a policy denies its ${direction}` : `${direction} is denied by ${ruleText(rule)}`;
}
