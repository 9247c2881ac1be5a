/**
 * The first lesson: the story of mc3, a pod with nginx in front of a web application, packet by packet. Each step has a
 * text in both languages, and what to do: a packet to send, or a change of the manifests.
 */
import type { WalkRequest } from '../protocol.ts';
import { MC3, MC3_SERVICE } from './mc3-manifests.ts';

export interface LessonStep {
  readonly title: { readonly en: string; readonly zh: string };
  readonly text: { readonly en: string; readonly zh: string };
  /** The manifests from this step on; undefined: unchanged. */
  readonly manifests?: string;
  readonly packet?: WalkRequest;
  /** The stage of the walk to look at, on this node. */
  readonly look?: { readonly node: string; readonly stage: string };
}

const CLIENT = '10.244.2.2';
const MC3_POD = '10.244.1.2';
const MC3_IP = '10.96.1.0';
const packet = (from: string, to: string, port: number, more: Partial<WalkRequest> = {}): WalkRequest => ({
  from,
  to,
  protocol: 'tcp',
  port,
  srcPort: 40_000,
  flags: 'S',
  ...more,
});

const DENY = `---
# Isolates mc3: only pods with the label app=friend may connect.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: friends-only
spec:
  podSelector:
    matchLabels:
      app: mc3
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector:
            matchLabels:
              app: friend
`;

export const LESSON: readonly LessonStep[] = [
  {
    title: { en: 'One pod, two containers', zh: '一个 Pod，两个容器' },
    text: {
      en: 'Pod mc3 on node n1 has two containers: nginx on port 80, and a web application on 127.0.0.1:5000. They share one network namespace, so nginx reaches the application over the loopback. The ConfigMap has it: `server 127.0.0.1:5000`. Pod client on node n2 wants the page. Its first packet goes straight to the pod’s address.',
      zh: '节点 n1 上的 Pod mc3 有两个容器：80 端口的 nginx，以及监听 127.0.0.1:5000 的 Web 应用。它们共用一个网络命名空间，所以 nginx 通过回环地址访问应用，ConfigMap 里写的就是 `server 127.0.0.1:5000`。节点 n2 上的 Pod client 想要这个页面，它的第一个包直接发往 Pod 的地址。',
    },
    manifests: MC3,
    packet: packet(CLIENT, MC3_POD, 80),
    look: { node: 'n2', stage: 'route' },
  },
  {
    title: { en: 'Between the nodes: VXLAN', zh: '节点之间：VXLAN' },
    text: {
      en: 'The two nodes are joined by an underlay that knows 172.18.0.11 and 172.18.0.12, but no pod. So n2 puts 50 bytes in front of the packet: an Ethernet, an IPv4, a UDP and a VXLAN header. Look at the bytes of `send`: the packet inside is unchanged. n1 removes them in `decapsulate`.',
      zh: '两个节点之间的底层网络只认识 172.18.0.11 和 172.18.0.12，不认识任何 Pod。所以 n2 在数据包前面加上 50 个字节：以太网、IPv4、UDP 和 VXLAN 首部。看看 `send` 的字节：里面的包没有变。n1 在 `decapsulate` 中把它们去掉。',
    },
    packet: packet(CLIENT, MC3_POD, 80, { srcPort: 40_001 }),
    look: { node: 'n2', stage: 'send' },
  },
  {
    title: { en: 'The application is not exposed', zh: '应用没有暴露' },
    text: {
      en: 'Port 5000 of the pod’s address is another matter: the application listens on 127.0.0.1 only. The network delivers the packet, but on a real node the pod’s kernel answers with a reset. 127.0.0.1 never leaves a pod: nginx and the application talk inside.',
      zh: 'Pod 地址的 5000 端口则不同：应用只监听 127.0.0.1。网络会送达这个包，但在真实节点上，Pod 的内核会回复 RST。127.0.0.1 从不离开 Pod：nginx 和应用在内部通信。',
    },
    packet: packet(CLIENT, MC3_POD, 5000),
    look: { node: 'n1', stage: 'send' },
  },
  {
    title: { en: 'A Service: DNAT', zh: 'Service：DNAT' },
    text: {
      en: 'Pods come and go; a Service has an address that stays. No device has 10.96.1.0: the client’s node chooses an endpoint in `service`, remembers it in `connect`, and writes the pod’s address into the packet in `translate`. Both checksums are corrected by the difference, without reading the payload.',
      zh: 'Pod 来来去去，而 Service 的地址不变。没有任何设备拥有 10.96.1.0：客户端所在的节点在 `service` 中选择端点，在 `connect` 中记住它，在 `translate` 中把 Pod 的地址写进数据包。两个校验和按差值修正，不需要读取负载。',
    },
    manifests: MC3 + MC3_SERVICE,
    packet: packet(CLIENT, MC3_IP, 80),
    look: { node: 'n2', stage: 'translate' },
  },
  {
    title: { en: 'The second packet: conntrack', zh: '第二个包：连接跟踪' },
    text: {
      en: 'The client acknowledges. This packet reads no Service, no policy and no route: one look-up in `flow` finds the record, and the record has everything: the translation, the hop, the state. That is why the choice of an endpoint holds for the whole connection.',
      zh: '客户端发出确认。这个包不再查 Service、策略和路由：`flow` 中查一次表就找到记录，记录里什么都有：转换、下一跳、状态。所以端点的选择对整个连接有效。',
    },
    packet: packet(CLIENT, MC3_IP, 80, { flags: 'A' }),
    look: { node: 'n2', stage: 'flow' },
  },
  {
    title: { en: 'From outside: NodePort 31418', zh: '来自集群外：NodePort 31418' },
    text: {
      en: 'A client outside has no route to 10.96.1.0. It asks port 31418 of any node; here n2, which does not run mc3. n2 chooses the endpoint and also replaces the source with an address of its own (masquerade): otherwise mc3 would answer the client directly, from an address that the client never asked.',
      zh: '集群外的客户端没有到 10.96.1.0 的路由。它访问任意节点的 31418 端口；这里是没有运行 mc3 的 n2。n2 选择端点，并把源地址也换成自己的（伪装）：否则 mc3 会直接用客户端从未访问过的地址应答。',
    },
    packet: packet('outside', '172.18.0.12', 31_418),
    look: { node: 'n2', stage: 'translate' },
  },
  {
    title: { en: 'A policy says no', zh: '策略说不' },
    text: {
      en: 'A NetworkPolicy now isolates mc3: only pods with app=friend may connect. client has app=client. The packet is dropped on its own node, before a connection is recorded: a dropped packet changes no table. Give the client the label app=friend in the manifests, and send again.',
      zh: '现在一个 NetworkPolicy 隔离了 mc3：只有带 app=friend 标签的 Pod 可以连接，而 client 的标签是 app=client。数据包在它自己的节点上就被丢弃，没有记录连接：被丢弃的包不改变任何表。在清单里给 client 加上 app=friend 标签，再发一次。',
    },
    manifests: MC3 + MC3_SERVICE + DENY,
    packet: packet(CLIENT, MC3_IP, 80, { srcPort: 40_002 }),
    look: { node: 'n2', stage: 'network policy' },
  },
  {
    title: { en: 'No endpoint', zh: '没有端点' },
    text: {
      en: 'The Service’s selector has a typing error now: app=mc2 matches no pod. Nothing is listening behind 10.96.1.0, and the node answers at once with a reset, instead of letting the client wait. The walk names the cause below the verdict.',
      zh: '现在 Service 的选择器写错了：app=mc2 不匹配任何 Pod。10.96.1.0 后面没有人监听，节点立刻用 RST 说明，而不让客户端等待。判定下面写出了原因。',
    },
    manifests: MC3 + MC3_SERVICE.replace('app: mc3', 'app: mc2'),
    packet: packet(CLIENT, MC3_IP, 80, { srcPort: 40_003 }),
    look: { node: 'n2', stage: 'service' },
  },
];
