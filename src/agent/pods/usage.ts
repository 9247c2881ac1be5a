/**
 * CPU and memory of the node's containers, in the shape of kubelet's Summary API (k8s.io/kubelet/pkg/apis/stats). Measured
 * only when somebody asks: a rate needs two samples, so the first request takes a second, and those that follow within a
 * minute compare with the sample before. However many ask, a second has at most one sample.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeSummary, SummaryPod } from '../../api/metrics/summary.ts';
import { type ProcessUsage, pidNamespaceOf, usageOf, usageOfProcess } from '../../linux/process-usage.ts';
import type { PodGroups } from '../../runtime/pod/groups.ts';
import { podDirectories, readState } from '../../runtime/state.ts';

const APART_MS = 1000;
/** An older sample would give an average of the past instead of what happens now. */
const TOO_OLD_MS = 60_000;

interface ContainerSample {
  namespace: string;
  pod: string;
  uid: string;
  name: string;
  usage: ProcessUsage;
}

interface Sample {
  atMs: number;
  /** The agent and its workers. */
  agent: ProcessUsage;
  /** By container and instance. */
  containers: Map<string, ContainerSample>;
}

export class NodeUsage {
  private readonly nodeName: string;
  private readonly stateDir: string;
  private readonly groups: PodGroups;
  private last: Sample | undefined;
  private answer: Promise<NodeSummary> | undefined;

  constructor(nodeName: string, stateDir: string, groups: PodGroups) {
    this.nodeName = nodeName;
    this.stateDir = stateDir;
    this.groups = groups;
  }

  /** Requests at the same time, and those of the next second, get the same answer. */
  summary(): Promise<NodeSummary> {
    this.answer ??= this.measure().finally(() => {
      setTimeout(() => {
        this.answer = undefined;
      }, APART_MS).unref();
    });
    return this.answer;
  }

  private async measure(): Promise<NodeSummary> {
    let before = this.last;
    if (before === undefined || performance.now() - before.atMs > TOO_OLD_MS) {
      before = this.sample();
      await sleep(APART_MS);
    }
    const now = this.sample();
    this.last = now;
    return summaryOf(this.nodeName, before, now);
  }

  private sample(): Sample {
    const containers = new Map<string, ContainerSample>();
    const namespaces = new Map<string, ContainerSample>();
    for (const directory of podDirectories(this.stateDir)) {
      const state = readState(directory);
      if (state?.nodeName !== this.nodeName) continue;
      const { namespace = 'default', name: pod, uid } = state.pod.metadata;
      for (const [name, { process, instances, group }] of Object.entries(state.containers)) {
        const pids = process && pidNamespaceOf(process.main.pid);
        if (pids === undefined) continue;
        const counted = group === undefined ? undefined : this.groups.usage(group);
        const sample = { namespace, pod, uid, name, usage: counted ?? { cpuSeconds: 0, memoryBytes: 0 } };
        containers.set(`${uid}/${name}/${instances}`, sample);
        if (counted === undefined) namespaces.set(pids, sample);
      }
    }
    // Where there are no control groups, the processes of each container are added up.
    if (namespaces.size > 0) {
      for (const [pids, usage] of usageOf(new Set(namespaces.keys()))) namespaces.get(pids)!.usage = usage;
    }
    return { atMs: performance.now(), agent: usageOfProcess('self')!, containers };
  }
}

const rate = (before: ProcessUsage, now: ProcessUsage, seconds: number): number =>
  Math.max(0, Math.round(((now.cpuSeconds - before.cpuSeconds) / seconds) * 1e9));

function summaryOf(nodeName: string, before: Sample, now: Sample): NodeSummary {
  const seconds = (now.atMs - before.atMs) / 1000;
  const time = new Date().toISOString();
  const part = (from: ProcessUsage, to: ProcessUsage) => ({
    cpu: { time, usageNanoCores: rate(from, to, seconds) },
    memory: { time, workingSetBytes: to.memoryBytes },
  });
  const pods = new Map<string, SummaryPod>();
  const agent = part(before.agent, now.agent);
  let nanoCores = agent.cpu.usageNanoCores;
  let bytes = agent.memory.workingSetBytes;
  for (const [key, sample] of now.containers) {
    const earlier = before.containers.get(key);
    if (earlier === undefined) continue; // It has just begun: there is no rate yet.
    const measured = part(earlier.usage, sample.usage);
    nanoCores += measured.cpu.usageNanoCores;
    bytes += measured.memory.workingSetBytes;
    const { namespace, pod: name, uid } = sample;
    const pod = pods.get(uid) ?? { podRef: { namespace, name, uid }, containers: [] };
    pod.containers.push({ name: sample.name, ...measured });
    pods.set(uid, pod);
  }
  return {
    windowSeconds: seconds,
    node: { nodeName, cpu: { time, usageNanoCores: nanoCores }, memory: { time, workingSetBytes: bytes } },
    pods: [...pods.values()],
  };
}
