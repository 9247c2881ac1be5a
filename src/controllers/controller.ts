/**
 * The control plane in one process: store, API and all controllers. All its state is in the state directory, so it can
 * be killed and started again at any time; agents keep forwarding meanwhile.
 */
import { mkdirSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import { Rbac } from '../api/access/rbac.ts';
import { agentSocketPath } from '../api/agent-socket.ts';
import { type ClusterOptions, DEFAULT_CLUSTER_OPTIONS } from '../api/cluster-options.ts';
import { AgentUsage, type UsageSource } from '../api/metrics/usage.ts';
import { RESOURCES, resourceOfKind } from '../api/resources.ts';
import { claimSocket, startApiServer } from '../api/server/server.ts';
import { lockDirectory } from '../api/store/directory-lock.ts';
import { type Admissions, Registry } from '../api/store/registry.ts';
import { Store } from '../api/store/store.ts';
import { CONFIG_MAP } from '../api/types/objects.ts';
import { ApiMetrics, type QueueCounts } from '../observe/metrics/api-metrics.ts';
import { exposeMetrics, openMetrics } from '../observe/metrics/exposition.ts';
import { makeBootstrapRoles } from './access/bootstrap-roles.ts';
import { publishClusterInfo } from './access/cluster-info.ts';
import { kubernetesServiceAddress, startKubernetesService } from './access/kubernetes-service.ts';
import { openAuthorization } from './access/open-authorization.ts';
import { type AccessOptions, prepareAccess } from './access/secure-access.ts';
import { startServiceAccounts } from './access/service-accounts.ts';
import { signingRequestAdmission } from './access/signing-request-admission.ts';
import { ServiceAccountTokens } from './access/tokens.ts';
import { type Cluster, makeCluster } from './cluster.ts';
import { type IngressOptions, ingressAdmission } from './ingress/ingresses.ts';
import { Quotas } from './limits/quotas.ts';
import { namespaceAdmission, startNamespaceController } from './namespaces.ts';
import { NodeAdmission } from './nodes/admission.ts';
import { type AgentSupervisor, type AgentSupervisorOptions, startAgentSupervisor } from './nodes/agent-supervisor.ts';
import { leaseAdmission } from './nodes/node-restriction.ts';
import { checkOptions } from './options-check.ts';
import { PodAddresses } from './pods/addresses.ts';
import { podAdmissionOf } from './pods/admission.ts';
import { makeSystemClasses, priorityClassAdmission } from './pods/priority.ts';
import { ServiceAddresses } from './services/addresses.ts';
import { ServiceAdmission } from './services/admission.ts';
import { startClusterDns } from './services/cluster-dns.ts';
import type { OutsideRoutes } from './services/outside-routes.ts';
import { serviceCidrAdmission, startServiceCidrs } from './services/service-cidrs.ts';
import { startControllers } from './start-controllers.ts';
import { claimAdmission, volumeAdmission } from './storage/admission.ts';
import { jobAdmission } from './workloads/jobs.ts';

export interface ControllerOptions {
  /** Objects are kept in `<stateDir>/store`. */
  stateDir: string;
  socketPath: string;
  /** If set, the API is served over TLS too, and `<stateDir>/kubeconfig` is written. */
  access?: AccessOptions | undefined;
  /** If set, the API is also served here: plain HTTP, and every client may do everything. */
  insecure?: { host: string; port: number } | undefined;
  options?: Partial<ClusterOptions>;
  /** If set, Ingresses of the class `nginx` are served. */
  ingresses?: Pick<IngressOptions, 'nginx'>;
  /** Usage of nodes and pods; by default the nodes' agents measure it. */
  usage?: UsageSource;
  /** If set, one agent per node is started and supervised; otherwise agents are started separately. */
  agents?: Pick<AgentSupervisorOptions, 'nodes' | 'command'>;
  /** Where each claim of the class `standard` gets a directory; if left out, there is no such class. */
  volumesDirectory?: string | undefined;
  /** Milliseconds without a heartbeat after which a node is not Ready. Default 10000. */
  nodeSilenceMs?: number;
  /** Called with the routes from outside the cluster to services' external and load-balancer addresses. */
  outside?: ((routes: OutsideRoutes) => void) | undefined;
  log?: (line: string) => void;
}

export interface Controller {
  /** Port of the API on 127.0.0.1, over TLS. */
  readonly apiPort: number | undefined;
  /** Port of the plain HTTP listener. */
  readonly insecurePort: number | undefined;
  /** Ends watches and the API, and flushes the store. Agents keep forwarding. */
  close(): Promise<void>;
}

/**
 * Resolves when the API is served. @throws ClusterOptionsError, DirectoryInUseError, SocketInUseError,
 * JournalDamagedError
 */
export async function startController(given: ControllerOptions): Promise<Controller> {
  checkOptions({ ...DEFAULT_CLUSTER_OPTIONS, ...given.options });
  mkdirSync(given.stateDir, { recursive: true });
  // Before the store is opened: a second writer would corrupt it.
  const unlock = await lockDirectory(given.stateDir);
  let agents: AgentSupervisor | undefined;
  try {
    await claimSocket(given.socketPath);
    const events: { cluster?: Cluster } = {};
    const onKilled = (node: string, why: string) => reportKilled(events.cluster, node, why);
    // Agents wait for the API, and take as long to start as it does.
    agents = given.agents && startAgentSupervisor({ ...given, ...given.agents, onKilled });
    const controller = await start(given, events);
    return {
      ...controller,
      async close() {
        agents?.release();
        await controller.close();
        unlock();
      },
    };
  } catch (error) {
    agents?.release();
    unlock();
    throw error;
  }
}

/** @param events gets the cluster */
async function start(given: ControllerOptions, events: { cluster?: Cluster }): Promise<Controller> {
  const { stateDir, socketPath, log = () => {} } = given;
  const options = { ...DEFAULT_CLUSTER_OPTIONS, ...given.options };
  const ranges = checkOptions(options);
  const serviceAddress = kubernetesServiceAddress(ranges.service);
  const access = given.access && (await prepareAccess(stateDir, given.access, serviceAddress, options.clusterDomain));
  const store = new Store({ directory: join(stateDir, 'store') });
  for (const damage of store.damages) log(`store: ${damage}; everything else is as it was`);
  const services = new ServiceAddresses(store, ranges.service, options.nodePortRange, options.loadBalancerPool);
  const pods = new PodAddresses(store);
  const tokens =
    access && (await ServiceAccountTokens.open(store, access.certificates.serviceAccountKey, options.clusterDomain));
  const rbac = given.access?.authorization === 'rbac' ? new Rbac(store) : undefined;
  const quotas = new Quotas(store);
  const admissions: Admissions = {
    Pod: podAdmissionOf(store, tokens !== undefined),
    PersistentVolumeClaim: claimAdmission(store),
    PersistentVolume: volumeAdmission,
    Ingress: ingressAdmission(store),
    Service: new ServiceAdmission(services, ranges.external),
    Node: new NodeAdmission(store, pods, ranges.pod),
    Lease: leaseAdmission,
    Namespace: namespaceAdmission,
    Job: jobAdmission,
    PriorityClass: priorityClassAdmission(store),
    CertificateSigningRequest: signingRequestAdmission,
    ServiceCIDR: serviceCidrAdmission([ranges.pod, ranges.underlay]),
    ...(rbac === undefined && openAuthorization),
  };
  const registry = new Registry(store, admissions, (...write) => quotas.check(...write));
  const cluster = makeCluster(store, registry, log);
  events.cluster = cluster;
  // What every request relies on. Everything else starts when requests are already answered.
  startNamespaceController(cluster);
  makeSystemClasses(cluster.as('apiserver', 'kube-apiserver'));
  startServiceCidrs(cluster.as('service-cidr-controller'), ranges.service);
  const endpoint = given.access && endpointForPods(given.access);
  if (endpoint !== undefined) startKubernetesService(cluster, ranges.service, endpoint);
  if (options.dns === 'agent') startClusterDns(cluster, ranges.service);
  if (rbac !== undefined) makeBootstrapRoles(cluster);
  startServiceAccounts(cluster, access?.certificates.authority);
  publishOptions(cluster, options);
  quotas.start(cluster.as('resourcequota-controller'));
  const agentSocket = (node: string) =>
    given.agents?.nodes.includes(node) ? agentSocketPath(stateDir, node) : undefined;
  const usage = given.usage ?? new AgentUsage(store, agentSocket);
  const metrics = openMetrics();
  const requests = new ApiMetrics(metrics, {
    objects: () => [
      ...RESOURCES.map(({ plural, key }): [string, number] => [plural, store.list(key).length]),
      ...registry.kinds
        .kinds()
        .map(({ plural, group, key }): [string, number] => [`${plural}.${group}`, store.list(key).length]),
    ],
    queues: () => queueCounts(cluster),
  });
  const server = await startApiServer(registry, {
    socketPath,
    observer: {
      answered: (request, seconds) => requests.answered(request, seconds),
      expose: exposeMetrics(metrics),
    },
    ...(access && { secure: access.secure }),
    ...(given.insecure && { insecure: given.insecure }),
    ...(tokens && { tokens }),
    ...(rbac && { authorize: rbac.authorize, rulesOf: rbac.rulesOf }),
    agentSocket,
    usage,
  });
  access?.announce(server.securePorts);
  const url = given.access && urlForMachines(given.access, server.securePorts);
  if (access && url !== undefined) publishClusterInfo(cluster, url, access.certificates.authority);
  const authority = access && { certificate: access.certificates.authority, key: access.certificates.authorityKey };
  const endControllers = await startControllers(cluster, { ...given, options, services, pods, usage, authority }).catch(
    async (error: unknown) => {
      await server.close();
      throw error;
    },
  );
  return {
    apiPort: server.securePorts[0],
    insecurePort: server.insecurePort,
    async close() {
      await server.close();
      endControllers();
      cluster.close();
      await store.close();
    },
  };
}

/** The API's address for pods: one of its own, or the one for other machines if pods reach that. */
function endpointForPods({ inCluster, listen }: AccessOptions): { address: string; port: number } | undefined {
  if (inCluster !== undefined) return inCluster;
  const isReached = listen !== undefined && listen.port > 0 && isIPv4(listen.host) && !/^(0|127)\./.test(listen.host);
  return isReached ? { address: listen.host, port: listen.port } : undefined;
}

/** The URL of the API for other machines; undefined if there is none. @param ports those of the TLS listeners */
function urlForMachines({ inCluster, listen }: AccessOptions, ports: readonly number[]): string | undefined {
  const host = listen?.host ?? inCluster?.address;
  // The listener for machines comes last (secure-access.ts).
  return host === undefined || host === '0.0.0.0' ? undefined : `https://${host}:${ports.at(-1)}`;
}

function publishOptions({ store, registry }: Cluster, options: ClusterOptions): void {
  const { namespace, name, key } = CONFIG_MAP;
  const resource = resourceOfKind('ConfigMap')!;
  const data = { [key]: JSON.stringify(options) };
  const old = store.get('ConfigMap', namespace, name);
  if (old !== undefined) registry.write({ ...old, data }, old);
  else
    registry.create(resource, namespace, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data });
}

/** Queues of the same name (one for each node, say) are added up. */
function queueCounts(cluster: Cluster): QueueCounts[] {
  const counts = new Map<string, QueueCounts>();
  for (const { name, queue } of cluster.queues()) {
    const { depth, added, retried } = queue.counts;
    const before = counts.get(name) ?? { depth: 0, added: 0, retried: 0 };
    counts.set(name, {
      name,
      depth: before.depth + depth,
      added: before.added + added,
      retried: before.retried + retried,
    });
  }
  return [...counts.values()];
}

/** An event on the node whose agent has to be killed. */
function reportKilled(cluster: Cluster | undefined, name: string, why: string): void {
  const node = cluster?.store.get('Node', undefined, name);
  if (node !== undefined)
    cluster?.event(node, 'Warning', 'AgentKilled', `The agent of node ${name} ${why}: it is killed and restarted`);
}
