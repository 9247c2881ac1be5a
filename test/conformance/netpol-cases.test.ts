/**
 * The cases of Kubernetes' NetworkPolicy suite through the pipelines of two nodes: a packet of each pair of pods, as it would
 * open a connection, either reaches the other pod or does not. All cases in one run of one compiler, so that each is a
 * change of the one before.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { nextGeneration } from '../../native-free-dataplane/node/config.ts';
import { withdrawImage } from '../../native-free-dataplane/policies/table.ts';
import { PolicyWriter } from '../../native-free-dataplane/policies/writer.ts';
import { SERVICE_PROTOCOLS } from '../../native-free-dataplane/protocols.ts';
import { PolicyCompiler } from '../../src/compile/policies/compile-policies.ts';
import { parsePolicy } from '../../src/compile/policies/parse-policy.ts';
import { macOf } from '../../src/net/pod-network.ts';
import { NAMESPACES, nameOf, namespaceOf, PODS, type Step, UPSTREAM_CASES } from '../lib/policies/upstream-cases.ts';
import { exchange, TestNode } from '../lib/test-node.ts';

const test = suite('cases of the netpol suite');

const ipOf = (pod: string): string => `10.244.${1 + (PODS.indexOf(pod) % 2)}.${10 + PODS.indexOf(pod)}`;
const ports = Object.entries(SERVICE_PROTOCOLS).flatMap(([name, protocol]) =>
  [80, 81].map((port) => ({ name: `serve-${port}-${name.toLowerCase()}`, protocol, port })),
);
const FIRST_PACKETS = { TCP: 'S seq 1', UDP: 'len 8', SCTP: 'len 20' };

/** A node with the pods whose addresses are its own, and with what keeps its policies. */
class PolicyNode {
  readonly node: TestNode;
  private readonly compiler = new PolicyCompiler();
  private readonly writer: PolicyWriter;
  private readonly pods = new Map<string, Parameters<PolicyCompiler['compile']>[0]['pods'][0]>();

  constructor(number: 1 | 2) {
    this.node = new TestNode({ number, maxConntrack: 65_536, policies: {} }).peer(3 - number);
    for (const pod of PODS) if (nodeOf(pod) === number) this.node.pod(pod, ipOf(pod));
    this.writer = new PolicyWriter(this.node.policies);
  }

  put({ policies, labels = {} }: Step): void {
    const objects = policies(ipOf).map(parsePolicy);
    if (objects.length === 0) withdrawImage(this.node.policies);
    else {
      this.writer.write(
        this.compiler.compile({
          policies: objects,
          pods: PODS.map((pod) => this.pod(pod, labels[pod])),
          namespaces: new Map(
            NAMESPACES.map((name) => [name, { ns: name, 'kubernetes.io/metadata.name': name, ...labels[name] }]),
          ),
          nodes: [],
          dnsPort: undefined,
        }),
      );
    }
    nextGeneration(this.node.node);
  }

  /** The same object for a pod with the same labels. */
  private pod(pod: string, more: Record<string, string> = {}) {
    const key = `${pod} ${JSON.stringify(more)}`;
    const made = { namespace: namespaceOf(pod), labels: { pod: nameOf(pod), ...more }, ip: ipOf(pod), ports };
    const found = this.pods.get(key) ?? made;
    this.pods.set(key, found);
    return found;
  }
}

const nodeOf = (pod: string): number => 1 + (PODS.indexOf(pod) % 2);
const nodes = [new PolicyNode(1), new PolicyNode(2)] as const;
let sourcePort = 20_000;

/** Does the first packet of a connection reach the pod? Each from another port, so that none belongs to a known one. */
function reaches(from: string, to: string, protocol: keyof typeof FIRST_PACKETS, port: number): boolean {
  const [one, two] = nodes.map(({ node }) => node) as [TestNode, TestNode];
  const [sender, receiver] = [nodes[nodeOf(from) - 1]!.node, nodes[nodeOf(to) - 1]!.node];
  sourcePort = sourcePort === 60_000 ? 20_000 : sourcePort + 1;
  const text = `${protocol.toLowerCase()} ${ipOf(from)}:${sourcePort} > ${ipOf(to)}:${port} ${FIRST_PACKETS[protocol]}`;
  sender.receive(from, text, sender === receiver ? { dstMac: macOf(ipOf(to)) } : {});
  exchange(one, two);
  return receiver.sentFrames(to).length > 0;
}

for (const { name, steps } of UPSTREAM_CASES) {
  test(name, () => {
    for (const step of steps) {
      for (const node of nodes) node.put(step);
      for (const { protocol, ports: probed, expected } of step.probes) {
        const wrong: string[] = [];
        for (const port of probed) {
          for (const from of PODS) {
            for (const to of PODS) {
              if (from === to) continue;
              const got = reaches(from, to, protocol, port);
              if (got !== expected(from, to, port)) wrong.push(`${from} -> ${to} ${protocol} ${port}: ${got}`);
            }
          }
        }
        assert.equal(wrong, []);
      }
    }
  });
}

test('the cases are all that the suite has for connections', () => {
  assert.is(UPSTREAM_CASES.length, 48);
});

test.run();
