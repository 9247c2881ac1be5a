/**
 * A client of the backend of Hubble UI (github.com/cilium/hubble-ui), as its page is: messages of its own protocol by POST, and the
 * next poll after each answer. Only the fields that a test looks at are decoded.
 */
import protobuf from 'protobufjs';

const field = (type: string, id: number) => ({ type, id });
const repeated = (type: string, id: number) => ({ rule: 'repeated', type, id });

const { nested } = protobuf.Root.fromJSON({
  nested: {
    Message: { fields: { meta: field('Meta', 1), body: field('Body', 2) } },
    Meta: {
      fields: {
        traceId: field('string', 1),
        channelId: field('string', 2),
        routeName: field('string', 3),
        isTerminated: field('bool', 4),
        isError: field('bool', 6),
      },
    },
    Body: { fields: { content: field('bytes', 1) } },
    // Numbers of cilium's api/v1/flow/flow.proto and hubble-ui's backend/proto/ui/ui.proto.
    FlowFilter: {
      fields: {
        sourcePod: repeated('string', 2),
        destinationPod: repeated('string', 4),
        verdict: repeated('int32', 5),
        sourceFqdn: repeated('string', 7),
        destinationFqdn: repeated('string', 8),
        sourceLabel: repeated('string', 10),
        destinationLabel: repeated('string', 11),
        reply: repeated('bool', 15),
      },
    },
    EventFilter: { fields: { flow: field('FlowFilter', 2) } },
    EventsRequest: {
      fields: {
        eventTypes: repeated('int32', 1),
        blacklist: repeated('EventFilter', 2),
        whitelist: repeated('EventFilter', 3),
      },
    },
    EventsResponse: { fields: { events: repeated('Event', 3) } },
    Event: {
      fields: {
        service: field('ServiceState', 5),
        link: field('LinkState', 6),
        flows: field('Flows', 7),
        notification: field('Notification', 8),
      },
    },
    Flows: { fields: { flows: repeated('Flow', 1) } },
    Flow: {
      fields: { verdict: field('int32', 2), nodeName: field('string', 11), dropReason: field('int32', 25) },
    },
    ServiceState: { fields: { service: field('Service', 1) } },
    Service: {
      fields: { id: field('string', 1), name: field('string', 2), namespace: field('string', 3) },
    },
    LinkState: { fields: { link: field('Link', 1) } },
    Link: {
      fields: {
        sourceId: field('string', 2),
        destinationId: field('string', 3),
        destinationPort: field('uint32', 4),
        verdict: field('int32', 6),
      },
    },
    ControlResponse: { fields: { namespaces: field('Namespaces', 1), notification: field('Notification', 2) } },
    Namespaces: { fields: { namespaces: repeated('NamespaceState', 1) } },
    NamespaceState: { fields: { namespace: field('Namespace', 1) } },
    Namespace: { fields: { name: field('string', 2) } },
    Notification: { fields: { status: field('Status', 3) } },
    Status: { fields: { nodes: field('Nodes', 1) } },
    Nodes: { fields: { nodes: repeated('Node', 1) } },
    Node: { fields: { name: field('string', 1), state: field('int32', 4) } },
  },
});

const typeOf = (name: string): protobuf.Type => nested![name] as protobuf.Type;

/** Cilium's number of a verdict (api/v1/flow/flow.proto). */
export const UiVerdict = { FORWARDED: 1, DROPPED: 2 } as const;

export interface UiEvent {
  readonly service?: { readonly service: { readonly id: string; readonly name: string; readonly namespace: string } };
  readonly link?: {
    readonly link: {
      readonly sourceId: string;
      readonly destinationId: string;
      readonly destinationPort: number;
      readonly verdict: number;
    };
  };
  readonly flows?: { readonly flows: readonly UiFlow[] };
  readonly notification?: UiNotification;
}

export interface UiFlow {
  readonly verdict: number;
  readonly nodeName: string;
  /** Cilium's number of the reason. */
  readonly dropReason: number;
}

export interface UiNotification {
  readonly status?: {
    readonly nodes: { readonly nodes: readonly { readonly name: string; readonly state: number }[] };
  };
}

export interface UiControl {
  readonly namespaces?: { readonly namespaces: readonly { readonly namespace: { readonly name: string } }[] };
  readonly notification?: UiNotification;
}

interface Answer {
  readonly meta: { readonly channelId: string; readonly traceId: string; readonly isError: boolean };
  readonly body?: { readonly content: Uint8Array };
}

export interface UiStream {
  readonly route: string;
  /** Name of the messages' type, and what is sent first. */
  readonly type: string;
  readonly request: Uint8Array;
}

/**
 * The page's stream of what happens in a namespace: flows, services, links between them, and the state of the nodes.
 * @param verdict only flows with this one
 */
export function eventsOf(namespace: string, verdict?: number): UiStream {
  const [pods, reply] = [[`${namespace}/`], [false]];
  const only = verdict === undefined ? {} : { verdict: [verdict] };
  const filters = (...flows: object[]) => flows.map((flow) => ({ flow }));
  // As the page's src/factories/proto/index.ts, with nothing chosen but the namespace.
  const request = typeOf('EventsRequest').encode({
    eventTypes: [3, 4, 5, 6],
    whitelist: filters({ sourcePod: pods, reply, ...only }, { destinationPod: pods, reply, ...only }),
    blacklist: filters(
      { sourceLabel: ['reserved:unknown'] },
      { destinationLabel: ['reserved:unknown'] },
      { sourceFqdn: ['*.cluster.local*'] },
      { destinationFqdn: ['*.cluster.local*'] },
    ),
  });
  return { route: 'service-map-stream', type: 'EventsResponse', request: request.finish() };
}

/** The page's stream of namespaces and of the state of the nodes. */
export const CONTROL: UiStream = { route: 'control-stream', type: 'ControlResponse', request: new Uint8Array() };

/** One stream of the backend. */
export class HubbleUiStream<T> {
  private readonly url: string;
  private readonly stream: UiStream;
  private meta: object;
  private isFirst = true;

  /** @param origin such as http://127.0.0.1:8090 */
  constructor(origin: string, stream: UiStream) {
    this.url = `${origin}/api/${stream.route}`;
    this.stream = stream;
    this.meta = { routeName: stream.route };
  }

  /** What is new; undefined: nothing. @throws Error if the backend ends the stream */
  async poll(): Promise<T | undefined> {
    const content = this.isFirst ? this.stream.request : new Uint8Array();
    this.isFirst = false;
    const body = typeOf('Message').encode({ meta: this.meta, body: { content } }).finish();
    const response = await fetch(this.url, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: new Uint8Array(body),
      signal: AbortSignal.timeout(10_000),
    });
    if (!response.ok) throw new Error(`${this.url}: ${response.status}`);
    const answer = decode('Message', new Uint8Array(await response.arrayBuffer())) as Answer;
    const { channelId, traceId, isError } = answer.meta;
    if (isError) throw new Error(`${this.url}: the backend reports an error`);
    this.meta = { routeName: this.stream.route, channelId, traceId };
    const bytes = answer.body?.content ?? new Uint8Array();
    return bytes.length === 0 ? undefined : (decode(this.stream.type, bytes) as T);
  }
}

const decode = (type: string, bytes: Uint8Array): unknown =>
  typeOf(type).toObject(typeOf(type).decode(bytes), { arrays: true });
