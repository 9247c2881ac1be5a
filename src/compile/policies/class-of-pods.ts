/** A class of pods with its members, and a pod with its class. */
import type { Group } from './groups.ts';
import type { Identity } from './identities.ts';
import type { PodClass } from './pod-classes.ts';
import type { Direction, PolicyRules } from './policy-rules.ts';

/** A class of pods, and what applies to it. */
export interface ClassPolicies {
  readonly podClass: PodClass;
  readonly pods: Set<KeptPod>;
  readonly policies: Set<PolicyRules>;
  /** None while the class has no pods, or no policy selects it. */
  readonly groups: Record<Direction, Group | undefined>;
}

export interface KeptPod {
  readonly value: bigint;
  readonly ofClass: ClassPolicies;
  /** Undefined until it is known, and when a block around the address was added. */
  identity: Identity | undefined;
  /** Position of its row. */
  at: number;
}
