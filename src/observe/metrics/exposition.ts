/** A set of metrics, and its text for Prometheus. */
import { Registry } from 'prom-client';
import { addProcessMetrics } from './process-metrics.ts';

/** A set of metrics of this process. */
export type Metrics = Registry;

/** Returns the metrics as text, with its media type. */
export type Expose = () => Promise<{ readonly type: string; readonly text: string }>;

/** A registry that has the metrics of this process. */
export function openMetrics(): Metrics {
  const registry = new Registry();
  addProcessMetrics(registry);
  return registry;
}

export const exposeMetrics =
  (registry: Metrics): Expose =>
  async () => ({ type: registry.contentType, text: await registry.metrics() });
