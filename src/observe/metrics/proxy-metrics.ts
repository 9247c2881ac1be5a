/**
 * kube-proxy's metrics, under its names and with its buckets, for what this agent does in its place: applying Services
 * and EndpointSlices (kubernetes pkg/proxy/metrics/metrics.go).
 *
 * A change is applied as soon as it arrives, so that one change is one sync. Before the initial lists are complete,
 * changes are pending.
 */
import { exponentialBuckets, Gauge, Histogram, linearBuckets, type Registry } from 'prom-client';
import { WellKnown } from '../../api/types/objects.ts';
import { addCounter, addGauge, single } from './series.ts';

export type ChangeKind = 'service' | 'endpoint';

/** kube-proxy's: fine up to a minute, coarse up to five. */
const PROGRAMMING_BUCKETS = [
  ...linearBuckets(0.25, 0.25, 2),
  ...linearBuckets(1, 1, 59),
  ...linearBuckets(60, 5, 12),
  ...linearBuckets(120, 30, 7),
];

export class ProxyMetrics {
  private readonly duration: Histogram;
  private readonly programming: Histogram;
  private readonly lastSync: Gauge;
  private readonly lastQueued: Gauge;
  private readonly changes: Record<ChangeKind, { total: number; pending: number }> = {
    service: { total: 0, pending: 0 },
    endpoint: { total: 0, pending: 0 },
  };
  private endedConnections = 0;
  private readonly startedMs = Date.now();

  constructor(registry: Registry) {
    const registers = [registry];
    this.duration = new Histogram({
      name: 'kubeproxy_sync_proxy_rules_duration_seconds',
      help: 'Time to apply a change of Services or EndpointSlices to the tables, in seconds.',
      buckets: exponentialBuckets(0.001, 2, 15),
      registers,
    });
    this.programming = new Histogram({
      name: 'kubeproxy_network_programming_duration_seconds',
      help: 'Time from a change of endpoints until it is applied on this node, in seconds.',
      buckets: PROGRAMMING_BUCKETS,
      registers,
    });
    this.lastSync = new Gauge({
      name: 'kubeproxy_sync_proxy_rules_last_timestamp_seconds',
      help: 'When a change was last applied, in seconds since the Unix epoch.',
      registers,
    });
    this.lastQueued = new Gauge({
      name: 'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds',
      help: 'When a change last arrived, in seconds since the Unix epoch.',
      registers,
    });
    for (const kind of ['service', 'endpoint'] as const) {
      addCounter(registry, {
        name: `kubeproxy_sync_proxy_rules_${kind}_changes_total`,
        help: `Changes of ${kind === 'service' ? 'Services' : 'EndpointSlices'} that have arrived.`,
        read: () => single(this.changes[kind].total),
      });
      addGauge(registry, {
        name: `kubeproxy_sync_proxy_rules_${kind}_changes_pending`,
        help: `Changes of ${kind === 'service' ? 'Services' : 'EndpointSlices'} that are not applied yet.`,
        read: () => single(this.changes[kind].pending),
      });
    }
    addCounter(registry, {
      name: 'kubeproxy_conntrack_reconciler_deleted_entries_total',
      help: 'Connections that were ended because their endpoint was removed.',
      labels: ['ip_family'],
      read: () => [[{ ip_family: 'IPv4' }, this.endedConnections]],
    });
  }

  /** A change has arrived. */
  queued(kind: ChangeKind): void {
    this.changes[kind].total++;
    this.changes[kind].pending++;
    this.lastQueued.setToCurrentTime();
  }

  /** Applies everything that is pending. */
  sync(apply: () => void): void {
    const from = performance.now();
    try {
      apply();
    } finally {
      this.duration.observe((performance.now() - from) / 1000);
      this.lastSync.setToCurrentTime();
      for (const change of Object.values(this.changes)) change.pending = 0;
    }
  }

  /** A slice is in force. Changes from before this agent's start are not counted: they say nothing about it. */
  programmed(annotations: Readonly<Record<string, string>> | undefined): void {
    const changedMs = Date.parse(annotations?.[WellKnown.TRIGGER_TIME] ?? '');
    if (changedMs >= this.startedMs) this.programming.observe(Math.max(0, Date.now() - changedMs) / 1000);
  }

  ended(connections: number): void {
    this.endedConnections += connections;
  }
}
