/**
 * Ingresses of the class `nginx`, served by the nginx of this machine in a pod (workload.ts): the configuration follows
 * Ingresses, Services, endpoints and certificates, and the status says where nginx is reached. The pod exists while there
 * are such Ingresses.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { internalIpOf } from '../../api/node-identity.ts';
import { isReady } from '../../api/ready.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Admission } from '../../api/store/registry.ts';
import type { Store } from '../../api/store/store.ts';
import type { Ingress, IngressClass, KubeObject, Secret, Service } from '../../api/types/objects.ts';
import { WellKnown } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { keyOf, type WorkQueue } from '../work-queue.ts';
import { type Model, modelOf } from './model.ts';
import { nginxConfig } from './nginx-config.ts';
import { defaultPair, problemOf, type TlsPair, tlsPairOf } from './tls.ts';
import {
  CONFIG_SECRET,
  CONFIG_VERSION,
  deployment,
  ingressClass,
  LABELS,
  NAME,
  NAMESPACE,
  service,
} from './workload.ts';

const CONTROLLER = 'k8s.io/ingress-nginx';
const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';
const DEFAULT_CLASS = 'ingressclass.kubernetes.io/is-default-class';
const NGINX = '/usr/sbin/nginx';
const MISSING = `${NGINX} is not installed on this machine (apt-get install nginx): no Ingress is served`;
/** Changes within so long become one configuration. */
const GATHER_MS = 100;
const ALL = 'all';

/** An Ingress without a class gets the default one (plugin/pkg/admission/network/defaultingressclass). */
export const ingressAdmission = (store: Store): Admission<Ingress> => ({
  prepare(ingress, old) {
    const { annotations } = ingress.metadata;
    if (old !== undefined || ingress.spec?.ingressClassName || annotations?.[CLASS_ANNOTATION] !== undefined)
      return ingress;
    const marked = store.list('IngressClass').find(({ metadata }) => metadata.annotations?.[DEFAULT_CLASS] === 'true');
    if (marked === undefined) return ingress;
    return { ...ingress, spec: { ...ingress.spec, ingressClassName: marked.metadata.name } };
  },
});

export interface IngressOptions {
  /** How nginx is reached from outside. */
  serviceType: 'NodePort' | 'LoadBalancer';
  /** The program; only tests have another one. */
  nginx?: string;
}

export function startIngresses(cluster: Cluster, options: IngressOptions): void {
  const { store, registry } = cluster;
  if (store.get('IngressClass', undefined, ingressClass.metadata.name) === undefined) {
    registry.create(resourceOfKind('IngressClass')!, undefined, ingressClass);
  }
  const controller = new IngressController(cluster, options);
  const queue: WorkQueue = cluster.queue('ingresses', () => controller.reconcile());
  const look = () => queue.addAfter(ALL, GATHER_MS);
  controller.look = look;
  const isOwn = ({ metadata }: KubeObject) => metadata.namespace === NAMESPACE;
  for (const kind of ['Ingress', 'IngressClass', 'Service'] as const) {
    store.onCommit(kind, ({ type, object, old }) => {
      if (type !== 'MODIFIED' || isOwn(object) || JSON.stringify(content(object)) !== JSON.stringify(content(old)))
        look();
    });
  }
  store.onCommit('EndpointSlice', ({ object }) => {
    if (controller.uses('Service', object.metadata.namespace, object.metadata.labels?.[WellKnown.SERVICE_NAME])) look();
  });
  store.onCommit('Secret', ({ object }) => {
    if (controller.uses('Secret', object.metadata.namespace, object.metadata.name)) look();
  });
  store.onCommit('Pod', ({ object }) => {
    if (isOwn(object)) look();
  });
  look();
}

/** Everything of an object but its status and its version. */
function content(object: KubeObject | undefined): unknown {
  if (object === undefined) return undefined;
  const { metadata, status, ...rest } = object as KubeObject & { status?: unknown };
  return [rest, metadata.annotations, metadata.deletionTimestamp];
}

class IngressController {
  look: () => void = () => {};
  private readonly cluster: Cluster;
  private readonly options: IngressOptions;
  /** What the configuration in force was made from: `KIND NAMESPACE/NAME`. */
  private used = new Set<string>();
  /** Problems that have been reported, by Ingress. */
  private readonly reported = new Map<string, string>();
  private fallback: TlsPair | undefined;

  constructor(cluster: Cluster, options: IngressOptions) {
    this.cluster = cluster;
    this.options = options;
  }

  uses(kind: string, namespace: string | undefined, name: string | undefined): boolean {
    return this.used.has(`${kind} ${namespace}/${name}`);
  }

  reconcile(): void {
    const ingresses = this.ingresses();
    if (ingresses.length === 0) this.stop();
    else if (!existsSync(this.options.nginx ?? NGINX)) {
      for (const ingress of ingresses) this.report(ingress, [MISSING]);
    } else if (this.pair() !== undefined) this.serve(ingresses);
  }

  /** Those of our class that are not being deleted. */
  private ingresses(): Ingress[] {
    const { store } = this.cluster;
    const classes = new Set(
      store
        .list('IngressClass')
        .flatMap(({ metadata, spec }: IngressClass) => (spec?.controller === CONTROLLER ? metadata.name : [])),
    );
    return store.list('Ingress').filter(({ metadata, spec }) => {
      const name = spec?.ingressClassName ?? metadata.annotations?.[CLASS_ANNOTATION] ?? '';
      return classes.has(name) && metadata.deletionTimestamp === undefined;
    });
  }

  private serve(ingresses: readonly Ingress[]): void {
    this.used = new Set();
    const pairs = new Map<string, TlsPair>();
    const model = modelOf(ingresses, {
      resolve: (namespace, name, port) => this.resolve(namespace, name, port),
      certificate: (namespace, name) => this.certificate(namespace, name, pairs),
    });
    this.keepWorkload(this.dataOf(model, pairs));
    for (const ingress of ingresses) {
      this.report(ingress, model.problems.get(keyOf(ingress)) ?? []);
      this.writeStatus(ingress);
    }
  }

  private resolve(namespace: string, name: string, port: { name?: string; number?: number }): string[] | string {
    const { store } = this.cluster;
    this.used.add(`Service ${namespace}/${name}`);
    const found: Service | undefined = store.get('Service', namespace, name);
    if (found === undefined) return `service "${namespace}/${name}" was not found`;
    const { spec } = found;
    if (spec.type === 'ExternalName')
      return `service "${namespace}/${name}" is of type ExternalName, which is not served`;
    const ofService = spec.ports?.find((each) => (port.name ? each.name === port.name : each.port === port.number));
    if (ofService === undefined) return `service "${namespace}/${name}" has no port ${port.name ?? port.number}`;
    const endpoints = this.endpoints(found, ofService.name ?? '');
    if (endpoints.length === 0) return [];
    // The data plane chooses the endpoint, for each request anew; a Service without an address has none to choose by.
    return spec.clusterIP && spec.clusterIP !== 'None' ? [`${spec.clusterIP}:${ofService.port}`] : endpoints;
  }

  /** `IP:port` of the endpoints that are ready. */
  private endpoints({ metadata }: Service, portName: string): string[] {
    const slices = this.cluster.store.list('EndpointSlice', metadata.namespace);
    return slices
      .filter((slice) => slice.metadata.labels?.[WellKnown.SERVICE_NAME] === metadata.name)
      .flatMap(({ endpoints, ports }) => {
        const port = ports?.find(({ name }) => (name ?? '') === portName)?.port;
        const ready = endpoints.filter(({ conditions }) => conditions?.ready !== false);
        return port === undefined ? [] : ready.flatMap(({ addresses }) => addresses.map((ip) => `${ip}:${port}`));
      })
      .sort();
  }

  private certificate(namespace: string, name: string, pairs: Map<string, TlsPair>): { name: string } | string {
    this.used.add(`Secret ${namespace}/${name}`);
    const secret: Secret | undefined = this.cluster.store.get('Secret', namespace, name);
    if (secret === undefined) return `secret "${namespace}/${name}" was not found`;
    const pair = tlsPairOf(secret);
    if (typeof pair === 'string') return `secret "${namespace}/${name}": ${pair}`;
    const file = `${namespace}-${name}`;
    pairs.set(file, pair);
    return { name: file };
  }

  /** The default certificate: of the configuration that is there, else a new one, which takes a moment. */
  private pair(): TlsPair | undefined {
    if (this.fallback !== undefined) return this.fallback;
    const { data = {} } = this.secret() ?? {};
    const text = (key: string) => Buffer.from(data[key] ?? '', 'base64').toString('latin1');
    const before = { certificate: text('default.crt'), key: text('default.key') };
    if (problemOf(before) === undefined) this.fallback = before;
    else {
      void defaultPair(Date.now()).then((pair) => {
        this.fallback = pair;
        this.look();
      });
    }
    return this.fallback;
  }

  private secret(): Secret | undefined {
    return this.cluster.store.get('Secret', NAMESPACE, CONFIG_SECRET);
  }

  private dataOf(model: Model, pairs: ReadonlyMap<string, TlsPair>): Record<string, string> {
    const files: Record<string, string> = { 'nginx.conf': nginxConfig(model) };
    for (const [name, { certificate, key }] of [['default', this.fallback!] as const, ...pairs]) {
      files[`${name}.crt`] = certificate;
      files[`${name}.key`] = key;
    }
    const entries = Object.entries(files).map(([name, text]) => [name, Buffer.from(text, 'latin1').toString('base64')]);
    return Object.fromEntries(entries);
  }

  private keepWorkload(data: Record<string, string>): void {
    const { store, registry } = this.cluster;
    const create = (object: { kind: string }) => registry.create(resourceOfKind(object.kind)!, NAMESPACE, object);
    if (store.get('Namespace', undefined, NAMESPACE) === undefined) {
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels: LABELS } };
      registry.create(resourceOfKind('Namespace')!, undefined, namespace);
    }
    const secrets = resourceOfKind('Secret')!;
    const old = this.secret();
    const metadata = { name: CONFIG_SECRET, namespace: NAMESPACE, labels: LABELS };
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque', data };
    // By the rules of all Secrets: one that is too large is refused, and the configuration before stays in force.
    if (old === undefined) create(secret);
    else if (JSON.stringify(old.data) !== JSON.stringify(data)) {
      registry.update(secrets, NAMESPACE, CONFIG_SECRET, { ...old, data });
    }
    if (store.get('Service', NAMESPACE, NAME) === undefined) create(service(this.options.serviceType));
    if (store.get('Deployment', NAMESPACE, NAME) === undefined) create(deployment);
    const version = createHash('sha256').update(JSON.stringify(data)).digest('hex').slice(0, 16);
    for (const pod of store.list('Pod', NAMESPACE)) {
      if (pod.metadata.annotations?.[CONFIG_VERSION] === version) continue;
      const annotations = { ...pod.metadata.annotations, [CONFIG_VERSION]: version };
      registry.write({ ...pod, metadata: { ...pod.metadata, annotations } }, pod);
    }
  }

  /** Without Ingresses no nginx: the Service and its ports stay for the next one. */
  private stop(): void {
    this.used = new Set();
    if (this.cluster.store.get('Deployment', NAMESPACE, NAME) === undefined) return;
    this.cluster.registry.delete(resourceOfKind('Deployment')!, NAMESPACE, NAME);
  }

  /** Once for each new set of problems, as events. */
  private report(ingress: Ingress, problems: readonly string[]): void {
    const key = ingress.metadata.uid;
    const text = problems.join('\n');
    if (this.reported.get(key) === text) return;
    this.reported.set(key, text);
    for (const problem of problems)
      this.cluster.event(ingress, 'Warning', problem === MISSING ? 'NginxMissing' : 'Rejected', problem);
    if (problems.length === 0) this.cluster.event(ingress, 'Normal', 'Sync', 'Scheduled for sync');
  }

  /** The Service's own address from outside, else that of the node where nginx is ready. */
  private writeStatus(ingress: Ingress): void {
    const { store, registry } = this.cluster;
    const balancer = store.get('Service', NAMESPACE, NAME)?.status?.loadBalancer?.ingress ?? [];
    const nodes = new Set(
      store
        .list('Pod', NAMESPACE)
        .filter(isReady)
        .map(({ spec }) => spec.nodeName),
    );
    const addresses = [...nodes].flatMap((name) => {
      const node = name === undefined ? undefined : store.get('Node', undefined, name);
      return internalIpOf(node) ?? [];
    });
    const found = balancer.length > 0 ? balancer.map(({ ip }) => ({ ip: ip! })) : addresses.map((ip) => ({ ip }));
    // While nginx is being replaced, the address stays: it will be the same.
    if (found.length === 0 && ingress.status?.loadBalancer !== undefined) return;
    const status = { loadBalancer: found.length > 0 ? { ingress: found } : {} };
    registry.write({ ...ingress, status }, ingress);
  }
}
