/**
 * A strict parser of Prometheus' text exposition format, version 0.0.4: it rejects everything the format forbids, and
 * what Prometheus accepts but a program should not produce (a series twice, a metric without HELP and TYPE).
 */

export type MetricType = 'counter' | 'gauge' | 'histogram' | 'summary';

export interface Metric {
  readonly type: MetricType;
  readonly help: string;
  /** By the series' name and labels as written, such as `up{job="a"}`. */
  readonly series: Map<string, Sample>;
}

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/;
const SUFFIXES: Record<MetricType, RegExp> = {
  counter: /^$/,
  gauge: /^$/,
  histogram: /^_(bucket|sum|count)$/,
  summary: /^(|_sum|_count)$/,
};

/** All metrics of an exposition by name. @throws Error that names the line */
export function parseExposition(text: string): Map<string, Metric> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const metrics = new Map<string, Metric>();
  let help: { name: string; text: string } | undefined;
  let current: { name: string; metric: Metric } | undefined;
  for (const [index, line] of text.slice(0, -1).split('\n').entries()) {
    const fail = (why: string): never => {
      throw new Error(`line ${index + 1}: ${why}: ${line}`);
    };
    if (line === '') continue;
    if (line.startsWith('# HELP ')) {
      const [, name = '', said = ''] = new RegExp(`^# HELP (${NAME}) (.+)$`).exec(line) ?? fail('HELP is malformed');
      if (metrics.has(name)) fail('the metric is there twice');
      help = { name, text: said };
    } else if (line.startsWith('# TYPE ')) {
      const [, name = '', type = ''] =
        new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary)$`).exec(line) ?? fail('TYPE is malformed');
      if (help?.name !== name) fail('TYPE does not follow its HELP');
      current = { name, metric: { type: type as MetricType, help: help?.text ?? '', series: new Map() } };
      metrics.set(name, current.metric);
    } else {
      const sample = sampleOf(line) ?? fail('this is no sample');
      if (current === undefined || !sample.name.startsWith(current.name)) fail('the sample is not below its TYPE');
      const { name, metric } = current as { name: string; metric: Metric };
      if (!SUFFIXES[metric.type].test(sample.name.slice(name.length))) fail(`not a sample of a ${metric.type}`);
      if (metric.type === 'counter' && !(sample.value >= 0)) fail('a counter is not negative');
      const key = line.slice(0, line.lastIndexOf(' '));
      if (metric.series.has(key)) fail('the series is there twice');
      metric.series.set(key, sample);
    }
  }
  for (const [name, metric] of metrics) if (metric.type === 'histogram') checkHistogram(name, metric);
  return metrics;
}

function sampleOf(line: string): Sample | undefined {
  const match = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`).exec(line);
  if (match === null) return undefined;
  const labels: Record<string, string> = {};
  for (let rest = match[2] ?? ''; rest !== ''; ) {
    const [whole = '', name = '', value = ''] = LABEL.exec(rest) ?? [];
    if (whole === '' || Object.hasOwn(labels, name)) return undefined;
    labels[name] = value.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    rest = rest.slice(whole.length);
  }
  const number = match[3] as string;
  const special: Record<string, number> = { '+Inf': Infinity, '-Inf': -Infinity, NaN: Number.NaN };
  const value = special[number] ?? (/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(number) ? Number(number) : undefined);
  return value === undefined ? undefined : { name: match[1] as string, labels, value };
}

/** Buckets are cumulative, the last one is +Inf and equals the count. */
function checkHistogram(name: string, { series }: Metric): void {
  const groups = new Map<string, { buckets: [bound: number, value: number][]; count?: number }>();
  for (const { name: own, labels, value } of series.values()) {
    const { le, ...rest } = labels;
    const key = JSON.stringify(rest);
    const group = groups.get(key) ?? { buckets: [] };
    groups.set(key, group);
    if (own === `${name}_bucket`) group.buckets.push([le === '+Inf' ? Infinity : Number(le), value]);
    if (own === `${name}_count`) group.count = value;
  }
  for (const [labels, { buckets, count }] of groups) {
    const rises = buckets.every(([bound, value], i) => {
      const before = buckets[i - 1];
      return before === undefined || (bound > before[0] && value >= before[1]);
    });
    const [last, total] = buckets.at(-1) ?? [0, 0];
    if (!rises || last !== Infinity || total !== count) throw new Error(`histogram ${name} ${labels}: wrong buckets`);
  }
}

/** The value of the series of a metric that has exactly these labels; undefined if there is none. */
export function seriesValue(
  metrics: ReadonlyMap<string, Metric>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const metric = metrics.get(name) ?? metrics.get(name.replace(/_(bucket|sum|count)$/, ''));
  const wanted = Object.entries(labels);
  for (const sample of metric?.series.values() ?? []) {
    const same = wanted.every(([label, value]) => sample.labels[label] === value);
    if (same && sample.name === name && Object.keys(sample.labels).length === wanted.length) return sample.value;
  }
  return undefined;
}
