/** The metrics of agents and controller, as Prometheus reads them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  attachConntrack,
  conntrackBytes,
  createConntrack,
} from '../../../../native-free-dataplane/conntrack/record.ts';
import { createPolicies, policyBytes } from '../../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../../native-free-dataplane/policies/writer.ts';
import {
  countersBytes,
  countIn,
  countOut,
  countVerdict,
  createCounters,
  workerCounters,
} from '../../../../native-free-dataplane/shared/counters.ts';
import { isFailure, VERDICTS, Verdict, verdictNamed } from '../../../../native-free-dataplane/verdicts.ts';
import { REASONED_VERDICTS } from '../../../../src/observe/hubble/drop-reasons.ts';
import { ApiMetrics } from '../../../../src/observe/metrics/api-metrics.ts';
import { exposeMetrics, openMetrics } from '../../../../src/observe/metrics/exposition.ts';
import { addNodeMetrics } from '../../../../src/observe/metrics/node-metrics.ts';
import { ProxyMetrics } from '../../../../src/observe/metrics/proxy-metrics.ts';
import { ROOT } from '../../../lib/cluster.ts';
import { type Metric, parseExposition, seriesValue } from '../../../lib/exposition.ts';

const SECRET = Int32Array.of(1, 2, 3, 4);
const CONNTRACK = { addressWords: 1, max: 1024, workers: 2, secret: SECRET } as const;

type Open = ReturnType<typeof openMetrics>;

async function scrape(registry: Open): Promise<Map<string, Metric>> {
  const { type, text } = await exposeMetrics(registry)();
  assert.is(type, 'text/plain; version=0.0.4; charset=utf-8');
  return parseExposition(text);
}

function node() {
  const shape = { workers: 2, ports: 4 };
  const counters = createCounters(new ArrayBuffer(countersBytes(shape)), { ...shape, secret: SECRET });
  const buffer = new ArrayBuffer(conntrackBytes({ addressWords: 1, max: CONNTRACK.max }));
  createConntrack(buffer, CONNTRACK);
  const conntrack = attachConntrack(buffer);
  if (conntrack === undefined) throw new Error('the table is not there');
  const policies = createPolicies(new ArrayBuffer(policyBytes({ halfWords: 4096, maxRules: 16 })), {
    halfWords: 4096,
    maxRules: 16,
    secret: SECRET,
  });
  const registry = openMetrics();
  addNodeMetrics(registry, {
    tables: { conntrack, counters, policies },
    forwarding: () => true,
    workers: () => [
      { state: 'running', restarts: 0 },
      { state: 'crashed', restarts: 3 },
    ],
    overlay: () => ({ mode: 'vxlan', tunnelOffload: true, mtu: 1450 }),
  });
  return { registry, counters, policies };
}

test('the counters of all workers are exposed, and Cilium reasons add up verdicts that mean the same', async () => {
  const { registry, counters } = node();
  const [first, second] = [workerCounters(counters, 0), workerCounters(counters, 1)];
  countIn(first, 1, 100);
  countIn(first, 2, 50);
  countOut(second, 0, 60);
  for (const verdict of [Verdict.SENT, Verdict.SENT, Verdict.ENCAPSULATED, Verdict.TO_HOST, Verdict.POLICY_INGRESS])
    countVerdict(first, verdict);
  for (const verdict of [Verdict.TTL_EXCEEDED, Verdict.TTL_EXCEEDED_SILENT, Verdict.PORT_DOWN])
    countVerdict(second, verdict);
  const metrics = await scrape(registry);
  assert.is(seriesValue(metrics, 'dataplane_received_frames_total', { worker: '0' }), 2);
  assert.is(seriesValue(metrics, 'dataplane_received_bytes_total', { worker: '0' }), 150);
  assert.is(seriesValue(metrics, 'dataplane_sent_bytes_total', { worker: '1' }), 60);
  assert.is(seriesValue(metrics, 'dataplane_packets_total', { verdict: 'forwarded' }), 2);
  assert.is(seriesValue(metrics, 'cilium_forward_count_total', { direction: 'INGRESS' }), 2);
  assert.is(seriesValue(metrics, 'cilium_forward_count_total', { direction: 'EGRESS' }), 2);
  assert.is(seriesValue(metrics, 'dataplane_drops_total', { reason: 'ttl-exceeded', outcome: 'refused' }), 1);
  assert.is(seriesValue(metrics, 'cilium_drop_count_total', { reason: 'TTL exceeded', direction: 'UNKNOWN' }), 2);
  assert.is(seriesValue(metrics, 'dataplane_drops_total', { reason: 'policy-ingress', outcome: 'dropped' }), 1);
  assert.is(seriesValue(metrics, 'cilium_drop_count_total', { reason: 'Policy denied', direction: 'INGRESS' }), 1);
  assert.is(seriesValue(metrics, 'cilium_drop_count_total', { reason: 'port-down', direction: 'UNKNOWN' }), 1);
  assert.is(seriesValue(metrics, 'dataplane_worker_restarts_total', { worker: '1' }), 3);
  assert.is(seriesValue(metrics, 'dataplane_conntrack_max_entries'), CONNTRACK.max);
});

test('a scrape has the values of its own time, and no series of an earlier state', async () => {
  const { registry, counters, policies } = node();
  assert.is(seriesValue(await scrape(registry), 'dataplane_policy_image_bytes'), 0);
  writePolicies(policies, { pods: [], intervals: [], groups: [], dns: undefined });
  countVerdict(workerCounters(counters, 1), Verdict.NO_ROUTE);
  const metrics = await scrape(registry);
  assert.ok((seriesValue(metrics, 'dataplane_policy_image_bytes') ?? 0) > 0);
  assert.ok((seriesValue(metrics, 'dataplane_policy_image_generation') ?? 0) !== 0);
  assert.is(seriesValue(metrics, 'dataplane_drops_total', { reason: 'no-route', outcome: 'dropped' }), 1);
  assert.is(metrics.get('dataplane_worker_state')?.series.size, 2);
});

test("Cilium's reasons are for failures only, and every verdict that they name exists", () => {
  assert.ok(REASONED_VERDICTS.length > 30);
  for (const name of REASONED_VERDICTS) {
    const row = VERDICTS[verdictNamed(name)];
    assert.ok(row !== undefined && isFailure(row), name);
  }
});

test('changes of Services are pending until they are applied, and a change older than the agent is not counted as latency', async () => {
  const registry = openMetrics();
  const proxy = new ProxyMetrics(registry);
  proxy.queued('service');
  proxy.queued('endpoint');
  proxy.queued('endpoint');
  const before = await scrape(registry);
  assert.is(seriesValue(before, 'kubeproxy_sync_proxy_rules_endpoint_changes_pending'), 2);
  assert.is(seriesValue(before, 'kubeproxy_sync_proxy_rules_duration_seconds_count'), 0);
  proxy.sync(() => {});
  assert.throws(() =>
    proxy.sync(() => {
      throw new Error('the table is full');
    }),
  );
  const trigger = (ms: number) => ({
    'endpoints.kubernetes.io/last-change-trigger-time': new Date(ms).toISOString(),
  });
  proxy.programmed(trigger(Date.now() - 3_600_000));
  proxy.programmed(undefined);
  proxy.programmed(trigger(Date.now() + 1));
  const after = await scrape(registry);
  assert.is(seriesValue(after, 'kubeproxy_sync_proxy_rules_endpoint_changes_pending'), 0);
  assert.is(seriesValue(after, 'kubeproxy_sync_proxy_rules_endpoint_changes_total'), 2);
  assert.is(seriesValue(after, 'kubeproxy_sync_proxy_rules_duration_seconds_count'), 2);
  assert.is(seriesValue(after, 'kubeproxy_network_programming_duration_seconds_count'), 1);
});

test('watches are counted as requests, but their length is not a duration of the API', async () => {
  const registry = openMetrics();
  const api = new ApiMetrics(registry, {
    objects: () => [['pods', 7]],
    queues: () => [{ name: 'endpoints', depth: 1, added: 5, retried: 2 }],
  });
  api.answered({ verb: 'LIST', resource: 'pods', code: 200 }, 0.002);
  api.answered({ verb: 'WATCH', resource: 'pods', code: 200 }, 300);
  const metrics = await scrape(registry);
  assert.is(seriesValue(metrics, 'apiserver_request_total', { verb: 'WATCH', resource: 'pods', code: '200' }), 1);
  const durations = metrics.get('apiserver_request_duration_seconds')?.series.values() ?? [];
  assert.ok([...durations].every(({ labels }) => labels.verb === 'LIST'));
  assert.is(seriesValue(metrics, 'workqueue_retries_total', { name: 'endpoints' }), 2);
  assert.is(seriesValue(metrics, 'apiserver_storage_objects', { resource: 'pods' }), 7);
});

test('the parser rejects text that is not an exposition', () => {
  const head = '# HELP a b\n# TYPE a counter\n';
  for (const text of [
    `${head}a 1`,
    `${head}a -1\n`,
    `${head}a 1\na 1\n`,
    `${head}a{x="1",x="2"} 1\n`,
    `${head}b 1\n`,
    `${head}a{x="\\t"} 1\n`,
    'a 1\n',
    '# TYPE a counter\na 1\n',
    '# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
  ]) {
    assert.throws(() => parseExposition(text), undefined, text);
  }
  assert.is(seriesValue(parseExposition(`${head}a{x="q\\"\\\\\\n"} 1e+21\n`), 'a', { x: 'q"\\\n' }), 1e21);
});

test('alert rules and dashboard name metrics that are exposed', async () => {
  const { registry } = node();
  new ProxyMetrics(registry);
  const exposed = await scrape(registry);
  const texts = ['alerts.yaml', 'dashboard.json'].map((file) => readFileSync(join(ROOT, 'docs/metrics', file), 'utf8'));
  const named = new Set(texts.join('\n').match(/\b(dataplane|cilium|kubeproxy|process)_[a-z_]+\b/g));
  assert.ok(named.size > 12);
  const unknown = [...named].filter((name) => !exposed.has(name) && !exposed.has(name.replace(/_bucket$/, '')));
  assert.equal(unknown, []);
});

test.run();
