/**
 * Starts the controllers, one after the other, while the API already answers requests: each begins with what is in the
 * store when it starts, so it does not matter what has been written before.
 */
import type { ClusterOptions } from '../api/cluster-options.ts';
import type { UsageSource } from '../api/metrics/usage.ts';
import { startCertificateSigners } from './access/certificate-signers.ts';
import type { KeyPair } from './access/certificates.ts';
import { startNodeApprover } from './access/node-approver.ts';
import { startAutoscalers } from './autoscaling/autoscalers.ts';
import type { Cluster } from './cluster.ts';
import { startCustomResourceCleanup } from './custom-resources.ts';
import { startEventExpiry } from './events.ts';
import { startGarbageCollector } from './garbage-collector.ts';
import { type IngressOptions, startIngresses } from './ingress/ingresses.ts';
import { startNodeLifecycle } from './nodes/lifecycle.ts';
import { startTaintEviction } from './nodes/taint-eviction.ts';
import type { PodAddresses } from './pods/addresses.ts';
import { startScheduler } from './pods/scheduler.ts';
import type { ServiceAddresses } from './services/addresses.ts';
import { startBalancerAddresses } from './services/balancer-addresses.ts';
import { startEndpointsController } from './services/endpoints.ts';
import { startIpAddresses } from './services/ip-addresses.ts';
import { type OutsideRoutes, startOutsideRoutes } from './services/outside-routes.ts';
import { startStorage } from './storage/storage.ts';
import { startCronJobController } from './workloads/cron-jobs.ts';
import { startDaemonSetController } from './workloads/daemon-sets.ts';
import { startDeploymentController } from './workloads/deployments.ts';
import { startDisruptionBudgets } from './workloads/disruption-budgets.ts';
import { startJobController } from './workloads/jobs.ts';
import { startReplicaSetController, startReplicationControllers } from './workloads/replica-sets.ts';
import { startStatefulSetController } from './workloads/stateful-sets.ts';

export interface ControllersOptions {
  options: ClusterOptions;
  services: ServiceAddresses;
  pods: PodAddresses;
  usage: UsageSource;
  /** Signs what is asked for by CertificateSigningRequests. */
  authority?: KeyPair | undefined;
  /** The others are described in controller.ts, ControllerOptions. */
  ingresses?: Pick<IngressOptions, 'nginx'>;
  volumesDirectory?: string | undefined;
  nodeSilenceMs?: number;
  outside?: ((routes: OutsideRoutes) => void) | undefined;
}

/** Resolves when all of them have started. @returns ends those that have timers of their own */
export async function startControllers(cluster: Cluster, given: ControllersOptions): Promise<() => void> {
  const { services, pods, usage, outside, ingresses, authority } = given;
  const endings: (() => void)[] = [];
  const ends = (controller: { close(): void }) => endings.push(() => controller.close());
  const serviceType = given.options.loadBalancerPool.length > 0 ? 'LoadBalancer' : 'NodePort';
  const starts: (() => void)[] = [
    () => startIpAddresses(cluster.as('ipallocator', 'kube-apiserver')),
    () => {
      const volumes = startStorage(cluster.as('persistentvolume-controller'), given.volumesDirectory);
      startScheduler(cluster.as('default-scheduler', 'kube-scheduler'), pods, volumes);
    },
    () => startEndpointsController(cluster, pods),
    () => startReplicaSetController(cluster.as('replicaset-controller')),
    () => startReplicationControllers(cluster.as('replication-controller')),
    () => startDeploymentController(cluster.as('deployment-controller')),
    () => startStatefulSetController(cluster.as('statefulset-controller')),
    () => startDaemonSetController(cluster.as('daemonset-controller')),
    () => startJobController(cluster.as('job-controller')),
    () => startCronJobController(cluster.as('cronjob-controller')),
    () => startDisruptionBudgets(cluster),
    () => startTaintEviction(cluster.as('taint-eviction-controller'), pods),
    () => startBalancerAddresses(cluster.as('service-controller'), services),
    () => outside && startOutsideRoutes(cluster, outside),
    () => ingresses && startIngresses(cluster.as('nginx-ingress-controller'), { serviceType, ...ingresses }),
    () => ends(startAutoscalers(cluster.as('horizontal-pod-autoscaler'), usage)),
    () => ends(startNodeLifecycle(cluster.as('node-controller'), pods, given.nodeSilenceMs)),
    () => authority && endings.push(startCertificateSigners(cluster.as('certificate-controller'), authority)),
    () => authority && endings.push(startNodeApprover(cluster.as('certificate-controller'))),
    () => startGarbageCollector(cluster),
    () => startCustomResourceCleanup(cluster),
    () => endings.push(startEventExpiry(cluster)),
  ];
  await cluster.store.parseAll();
  for (const start of starts) {
    await new Promise((resolve) => setImmediate(resolve));
    start();
  }
  return () => {
    for (const end of endings) end();
  };
}
