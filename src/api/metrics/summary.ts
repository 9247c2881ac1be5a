/** What an agent reports of its node's usage: the parts that are needed of kubelet's Summary API, and the time they span. */
interface Measured {
  cpu: { time: string; usageNanoCores: number };
  memory: { time: string; workingSetBytes: number };
}

export interface SummaryPod {
  podRef: { namespace: string; name: string; uid: string };
  containers: ({ name: string } & Measured)[];
}

export interface NodeSummary {
  /** The rates are averages over so long. */
  windowSeconds: number;
  node: { nodeName: string } & Measured;
  pods: SummaryPod[];
}
