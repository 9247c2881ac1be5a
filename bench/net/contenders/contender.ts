/**
 * The interface of a contender: it sets up a small network to be measured, in which clients and servers are ordinary
 * programs.
 *
 * All networks have the same plan and the same addresses (each in its own namespaces, so they do not interfere):
 *   outside 172.18.0.1 ── underlay ── node 1 172.18.0.11 (pod a = client 10.244.1.2, pod b = server 10.244.1.3)
 *                                 └── node 2 172.18.0.12 (pod c = server 10.244.2.2)
 * The endpoint of service `near` 10.96.8.10 is pod b, that of service `far` 10.96.8.11 is pod c; NodePorts 31419 and
 * 31418 belong to their port 80. A network without services is measured at the pods' own addresses.
 */
import type { ServicePort } from '../kube-proxy/service-port.ts';

export const POD_CIDR = '10.244.0.0/16';
/** MTU of pods everywhere: the underlay's 1500 less 50 for VXLAN. */
export const POD_MTU = 1450;

/** UDP payload of a 64-byte frame, including its frame check sequence. */
export const SMALL_PAYLOAD_BYTES = 18;

export const Port = { IPERF: 5201, ACCEPT: 7000, UDP: 9000, SOCKPERF: 11111, HTTP: 80 } as const;
export const NodePort = { FAR: 31418, NEAR: 31419 } as const;
export const NEAR_IP = '10.96.8.10';
export const FAR_IP = '10.96.8.11';

/** A path to measure: from a client to a server. */
export interface Path {
  clientNetns: string;
  serverNetns: string;
  /** IPv4 address to which the client connects. */
  address: string;
  /** Port of the web server at that address: its own, or a NodePort. */
  httpPort: number;
}

/** A contender's network while it is up. */
export interface TestNetwork {
  sameNode?: Path;
  acrossNodes?: Path;
  /** From outside through node 1 to a pod there, and to a pod on node 2. */
  nodePortNear?: Path;
  nodePortFar?: Path;
  /** Pids of the forwarding processes, one per agent; empty if the kernel forwards. */
  forwarders: number[];
  /** Remarks for the report: a setting that was refused, a version. */
  notes: string[];
}

/** An implementation of the network that is compared. */
export interface Contender {
  name: string;
  title: string;
  /** One sentence for the report. */
  about: string;
  /** The reason it cannot run here, if any. */
  unavailable(): string | undefined;
  up(): Promise<TestNetwork>;
  down(): Promise<void>;
}

/** The services of the plan as kube-proxy sees them: one entry per port. */
export function planServices(): ServicePort[] {
  return [
    service('near', NEAR_IP, '10.244.1.3', NodePort.NEAR),
    service('far', FAR_IP, '10.244.2.2', NodePort.FAR),
  ].flat();
}

function service(name: string, clusterIp: string, ip: string, nodePort: number): ServicePort[] {
  const port = (portName: string, protocol: 'tcp' | 'udp', number: number, node?: number): ServicePort => ({
    name: `default/${name}:${portName}`,
    clusterIp,
    protocol,
    port: number,
    nodePort: node,
    endpoints: [{ ip, port: number }],
  });
  return [
    port('iperf', 'tcp', Port.IPERF),
    port('accept', 'tcp', Port.ACCEPT),
    port('udp', 'udp', Port.UDP),
    port('sockperf', 'tcp', Port.SOCKPERF),
    port('http', 'tcp', Port.HTTP, nodePort),
  ];
}
