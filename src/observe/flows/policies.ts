/**
 * Which policies allow or deny the connections of flows, from the API's objects. Answers are kept until an object changes,
 * because the same pods connect again and again.
 */
import type { Labels } from '../../api/selectors.ts';
import type { NamespaceObject, NodeObject } from '../../api/types/objects.ts';
import type { PolicyNode } from '../../compile/policies/name-selections.ts';
import type { PolicyPod } from '../../compile/policies/pod-classes.ts';
import { policyNode } from '../../compile/policies/policy-objects.ts';
import type { Tier } from '../../compile/policies/policy-rules.ts';
import { PolicyMatch, type PolicyName } from '../hubble/flow.ts';
import {
  type DirectionExplained,
  explainPolicies,
  isolatingPolicies,
  type PolicyObjects,
  type RuleExplained,
} from '../policy/explain.ts';

/** A NetworkPolicy or a ClusterNetworkPolicy. */
export type Policy = PolicyObjects['policies'][number];

/** A connection, with the addresses that policies see: the client's own, and that of the endpoint. */
export interface Judged {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  /** 0 for protocols without ports. */
  readonly port: number;
}

/** What the policies of one end decide. */
export interface Judgement {
  readonly allowed: boolean;
  /** What the rule that allows compares. */
  readonly match: PolicyMatch;
  /** The policies with a rule that allows; or all that isolate the pod, if none does. */
  readonly policies: readonly PolicyName[];
}

/** Undefined: no policy isolates the pod in this direction, or the address is not a pod's. */
export interface Judgements {
  readonly egress: Judgement | undefined;
  readonly ingress: Judgement | undefined;
}

const NONE: Judgements = { egress: undefined, ingress: undefined };
const MAX_KNOWN = 10_000;

export class FlowPolicies {
  private readonly podAt: (ip: string) => PolicyPod | undefined;
  private readonly policies = new Map<string, Policy>();
  private readonly namespaces = new Map<string, Labels>();
  private readonly nodes = new Map<string, PolicyNode>();
  private readonly known = new Map<string, Judgements>();

  constructor(podAt: (ip: string) => PolicyPod | undefined) {
    this.podAt = podAt;
  }

  setPolicy(policy: Policy): void {
    this.policies.set(`${policy.metadata.namespace}/${policy.metadata.name}`, policy);
    this.known.clear();
  }

  removePolicy({ metadata }: Policy): void {
    this.policies.delete(`${metadata.namespace}/${metadata.name}`);
    this.known.clear();
  }

  setNamespace({ metadata }: NamespaceObject): void {
    this.namespaces.set(metadata.name, metadata.labels ?? {});
    this.known.clear();
  }

  setNode(node: NodeObject): void {
    const made = policyNode(node);
    const before = this.nodes.get(node.metadata.name);
    this.nodes.set(node.metadata.name, made);
    if (JSON.stringify(before) !== JSON.stringify(made)) this.known.clear();
  }

  /** A pod is new, or has other labels. */
  podChanged(): void {
    this.known.clear();
  }

  judge(connection: Judged): Judgements {
    if (this.policies.size === 0) return NONE;
    const { from, to, protocol, port } = connection;
    const key = `${from} ${to} ${protocol} ${port}`;
    const before = this.known.get(key);
    if (before !== undefined) return before;
    const end = (ip: string) => ({ text: ip, ip, pod: this.podAt(ip) });
    const objects = {
      policies: [...this.policies.values()],
      namespaces: this.namespaces,
      nodes: [...this.nodes.values()],
    };
    const { directions } = explainPolicies({ from: end(from), to: end(to), protocol, port }, objects);
    const judgements = { egress: judgementOf(directions[0]), ingress: judgementOf(directions[1]) };
    // There may be any number of addresses outside: bound what is kept.
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.set(key, judgements);
    return judgements;
  }
}

function judgementOf(explained: DirectionExplained): Judgement | undefined {
  const { allowed, decidedBy, isolated } = explained;
  if (decidedBy.length === 0 && !isolated) return undefined;
  const deciding = isolated ? isolatingPolicies(explained) : decidedBy.map(({ policy }) => policy);
  const [first] = decidedBy;
  return {
    allowed,
    match: first === undefined ? PolicyMatch.NONE : matchOf(first.rule),
    policies: [...new Set(deciding)].map(({ name, tier }) => policyName(name, tier)),
  };
}

function matchOf({ peers, ports }: RuleExplained): PolicyMatch {
  if (peers.length > 0) return ports.length > 0 ? PolicyMatch.L3_L4 : PolicyMatch.L3_ONLY;
  return ports.length > 0 ? PolicyMatch.L4_ONLY : PolicyMatch.ALL;
}

/** @param text `default/web`, or the name of a ClusterNetworkPolicy */
export function policyName(text: string, tier: Tier): PolicyName {
  if (tier !== 'namespaced') return { name: text, namespace: '', kind: 'ClusterNetworkPolicy' };
  const [namespace = '', name = ''] = text.split('/');
  return { name, namespace, kind: 'NetworkPolicy' };
}
