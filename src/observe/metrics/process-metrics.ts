/**
 * Metrics of the process under the names of Prometheus' client libraries. Not prom-client's default set: its histogram
 * of the event loop's delay wakes the process a hundred times a second, on a core that forwards packets.
 */
import { performance } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import { addCounter, addGauge, single } from './series.ts';

export function addProcessMetrics(registry: Registry): void {
  addCounter(registry, {
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time of the process, with all its threads, in seconds.',
    read: () => {
      const { user, system } = process.cpuUsage();
      return single((user + system) / 1e6);
    },
  });
  addGauge(registry, {
    name: 'process_resident_memory_bytes',
    help: 'Resident memory of the process, in bytes.',
    read: () => single(process.memoryUsage.rss()),
  });
  addGauge(registry, {
    name: 'process_start_time_seconds',
    help: 'Start of the process, in seconds since the Unix epoch.',
    read: () => single(performance.timeOrigin / 1000),
  });
}
