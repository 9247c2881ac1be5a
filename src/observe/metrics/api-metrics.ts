/**
 * Metrics of the API and the controllers, under the names of kube-apiserver and client-go's work queues. Labels name
 * kinds and verbs that the server knows, never objects.
 */
import { Counter, exponentialBuckets, Histogram, type Registry } from 'prom-client';
import type { ServedRequest } from '../../api/server/request-observer.ts';
import { addCounter, addGauge, type Sample } from './series.ts';

export interface QueueCounts {
  readonly name: string;
  readonly depth: number;
  readonly added: number;
  readonly retried: number;
}

export interface ApiMetricsSource {
  /** Number of stored objects by resource, such as `pods`. */
  readonly objects: () => Iterable<readonly [resource: string, count: number]>;
  readonly queues: () => Iterable<QueueCounts>;
}

export class ApiMetrics {
  private readonly requests: Counter<'verb' | 'resource' | 'code'>;
  private readonly durations: Histogram<'verb' | 'resource'>;

  constructor(registry: Registry, source: ApiMetricsSource) {
    const registers = [registry];
    this.requests = new Counter({
      name: 'apiserver_request_total',
      help: 'Requests by verb, resource and status.',
      labelNames: ['verb', 'resource', 'code'],
      registers,
    });
    this.durations = new Histogram({
      name: 'apiserver_request_duration_seconds',
      help: 'Time to answer a request, watches excepted, in seconds.',
      labelNames: ['verb', 'resource'],
      buckets: exponentialBuckets(0.001, 2, 14),
      registers,
    });
    addGauge(registry, {
      name: 'apiserver_storage_objects',
      help: 'Stored objects by resource.',
      labels: ['resource'],
      read: () => [...source.objects()].map(([resource, count]): Sample => [{ resource }, count]),
    });
    const perQueue = (value: (queue: QueueCounts) => number) => (): Sample[] =>
      [...source.queues()].map((queue) => [{ name: queue.name }, value(queue)]);
    addGauge(registry, {
      name: 'workqueue_depth',
      help: 'Keys that wait in the work queue of a controller.',
      labels: ['name'],
      read: perQueue(({ depth }) => depth),
    });
    addCounter(registry, {
      name: 'workqueue_adds_total',
      help: 'Keys added to the work queue of a controller.',
      labels: ['name'],
      read: perQueue(({ added }) => added),
    });
    addCounter(registry, {
      name: 'workqueue_retries_total',
      help: 'Keys that will be processed again after a failure.',
      labels: ['name'],
      read: perQueue(({ retried }) => retried),
    });
  }

  answered({ verb, resource, code }: ServedRequest, seconds: number): void {
    this.requests.inc({ verb, resource, code: String(code) });
    if (verb !== 'WATCH') this.durations.observe({ verb, resource }, seconds);
  }
}
