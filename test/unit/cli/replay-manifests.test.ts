/** `dataplane replay --diff MANIFESTS`: what would have become of recorded frames with manifests in force. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as build from '../../../native-free-dataplane/public.ts';
import type { KubeObject, Pod, Service } from '../../../src/api/types/objects.ts';
import { changed } from '../../../src/cli/replay/changed-tables.ts';
import { reportText } from '../../../src/cli/replay/report.ts';
import { compileService } from '../../../src/compile/compile-service.ts';
import { replay } from '../../../src/observe/replay/compare.ts';
import type { SnapshotObjects } from '../../../src/observe/replay/objects.ts';
import { reasonsOf } from '../../../src/observe/replay/reasons.ts';
import type { RecordedPacket } from '../../../src/observe/replay/recording.ts';
import type { NodeSnapshot } from '../../../src/observe/replay/snapshot-file.ts';
import { Names } from '../../../src/observe/trace/names.ts';
import { slicesOf } from '../../../src/ui/service-slices.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { TestNode } from '../../lib/test-node.ts';
import { processTraced } from '../../lib/traced-build.ts';

const test = suite('replay with manifests');
const NODE = 'n1';

const pod = (name: string, ip: string, app: string, uid = name): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid, labels: { app } },
    spec: { nodeName: NODE, containers: [{ name: 'c' }] },
    status: { podIP: ip, phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  }) as unknown as Pod;
const service = (name: string, clusterIP: string | undefined, more: object = {}): Service =>
  ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: {
      ...(clusterIP && { clusterIP }),
      selector: { app: 'web' },
      ports: [{ port: 80, targetPort: 8080 }],
      ...more,
    },
  }) as unknown as Service;
const policy = (name: string, spec: object): KubeObject =>
  ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace: 'default' },
    spec,
  }) as unknown as KubeObject;

const PODS = [
  pod('client', '10.244.1.2', 'client'),
  pod('web-1', '10.244.1.3', 'web'),
  pod('web-2', '10.244.1.4', 'other'),
];
const STICKY = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } } };
const UDP = { ports: [{ port: 53, targetPort: 5353, protocol: 'UDP' }] };
const SERVICES = [
  service('web', '10.96.1.0'),
  service('sticky', '10.96.1.1', STICKY),
  service('dns', '10.96.1.2', UDP),
];
const DENY = policy('deny', { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] });

/** A node with connections to each Service, and frames that follow. */
function recorded(policies: readonly KubeObject[] = []) {
  const node = new TestNode();
  for (const { metadata, status } of PODS) node.pod(metadata.name, status!.podIP!);
  for (const one of SERVICES) {
    for (const port of compileService(one, slicesOf(one, PODS), { nodeName: NODE }).ports) {
      node.writer.set(port, node.nowMs);
    }
  }
  node.receive('client', 'tcp 10.244.1.2:4000 > 10.96.1.0:80 S');
  node.receive('client', 'udp 10.244.1.2:4000 > 10.96.1.2:53 len 4');
  node.receive('client', 'tcp 10.244.1.2:4001 > 10.96.1.1:80 S');
  node.receive('web-1', 'tcp 10.244.1.3:8080 > 10.244.1.2:4000 SA');
  const tables = Object.fromEntries(
    Object.entries(node.buffers).map(([table, memory]) => {
      const bytes = new Uint8Array((memory as ArrayBuffer).slice(0));
      return [table, { size: bytes.length, extents: [{ at: 0, bytes }] }];
    }),
  ) as unknown as NodeSnapshot['tables'];
  const features = { tunnelOffload: true, udpSegmentation: true };
  const snapshot: NodeSnapshot = { node: NODE, nowMs: node.nowMs, timeMs: 0, features, tables };
  const objects: SnapshotObjects = {
    nodes: [],
    pods: PODS,
    services: SERVICES,
    slices: SERVICES.flatMap((one) => slicesOf(one, PODS)),
    policies: policies as unknown as SnapshotObjects['policies'],
    namespaces: [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } } as KubeObject],
    dnsByAgents: false,
  };
  return { version: 'test', nodes: [snapshot], objects };
}

const FRAMES = [
  'tcp 10.244.1.2:4000 > 10.96.1.0:80 A',
  'udp 10.244.1.2:4000 > 10.96.1.2:53 len 4',
  'tcp 10.244.1.2:4002 > 10.96.1.1:80 S',
  'tcp 10.244.1.2:4003 > 10.96.1.0:80 S',
  'tcp 10.244.1.2:4003 > 10.96.1.0:80 S',
];

const packets: readonly RecordedPacket[] = FRAMES.map((text, i) => ({
  node: NODE,
  worker: 0,
  port: 1,
  frame: frame(text, { dstMac: '0a:58:0a:f4:01:01', srcMac: '0a:58:0a:f4:01:02' }),
  nowMs: undefined,
  timeMs: i,
  ticks: [],
  state: undefined,
  offload: undefined,
  verdict: undefined,
  sent: undefined,
}));

/** What `dataplane replay --diff` prints. */
function diff(objects: readonly KubeObject[], remove = false): string {
  const snapshot = recorded();
  const made = changed(snapshot.objects, { objects, remove });
  const other = { build, tables: made.tables };
  const report = replay(snapshot, { packets }, build, other);
  const names = new Names(snapshot.objects);
  const traced = { process: processTraced, names: [names, new Names({ nodes: [], ...made.objects })] as const };
  const found = reasonsOf(snapshot, { packets }, [build, other], report.connections, traced);
  return reportText(report, 'x.yaml', { of: ({ number }) => found.get(number), nameOf: (ip) => names.address(ip) });
}

test('an object that is in force already changes nothing, nor does one without a part in these connections', () => {
  assert.match(diff([SERVICES[0] as KubeObject]), /5 of 5 are the same with x\.yaml$/);
  assert.match(diff([service('new', '10.96.1.9') as KubeObject]), /5 of 5 are the same with x\.yaml$/);
  const elsewhere = policy('elsewhere', { podSelector: { matchLabels: { app: 'nobody' } }, policyTypes: ['Ingress'] });
  assert.match(diff([elsewhere]), /5 of 5 are the same with x\.yaml$/);
});

test('a policy: connections that it would end are named with it, established ones as well', () => {
  const text = diff([DENY]);
  assert.match(text, /0 of 5 are the same with x\.yaml/);
  assert.match(
    text,
    /n1 tcp 10\.244\.1\.2:4003 > 10\.96\.1\.0:80 \(pod default\/client to Service default\/web\): 2 packets differ/,
  );
  assert.match(text, /n1 tcp 10\.244\.1\.2:4000 > 10\.96\.1\.0:80 .*: 1 packet differs/);
  assert.match(
    text,
    /without: forwarded\n.*10\.244\.1\.3:8080.*\n {2}with x\.yaml: policy-ingress\n {2}because: .*default\/deny.*stages\/network-policy\.ts:\d+\)/,
  );
});

test('a Service that selects another pod: new connections go there, and the reason has both endpoints', () => {
  const text = diff([service('web', undefined, { selector: { app: 'other' } }) as KubeObject]);
  assert.match(text, /3 of 5 are the same with x\.yaml/, 'established TCP connections keep their endpoint');
  assert.match(
    text,
    /:4003 > .*\n.*\n.*without: forwarded\n.*10\.244\.1\.3:8080.*\n.*with x\.yaml: forwarded\n.*10\.244\.1\.4:8080/,
  );
  assert.match(text, /because: .*web-1.* → .*web-2.* \(.*service.*stages\/service\.ts:\d+\)/);
});

test('a Service without endpoints ends its UDP connections, and one that is deleted is no longer there', () => {
  const lost = diff([service('dns', undefined, { ...UDP, selector: { app: 'nobody' } }) as KubeObject]);
  assert.match(lost, /udp 10\.244\.1\.2:4000 > 10\.96\.1\.2:53 .*: 1 packet differs/);
  assert.match(lost, /because: Service default\/dns has no ready endpoint/);
  const deleted = diff([SERVICES[1] as KubeObject], true);
  assert.match(deleted, /4 of 5 are the same/);
  assert.match(deleted, /because: 10\.96\.1\.1 would have to be the address of a Service/);
});

test('a pod’s labels move it into a Service and out of it', () => {
  const moved = pod('web-1', '', 'gone');
  assert.match(
    diff([moved as KubeObject]),
    /because: Service default\/web has no ready endpoint: its selector app=web matches 0 pods/,
  );
});

test.run();
