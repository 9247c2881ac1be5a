/** The interface of a contender of the scaling benchmark. */
import type { ScalingPlan } from './plan.ts';

export interface Scaled {
  name: string;
  title: string;
  about: string;
  unavailable(): string | undefined;
  /** Sets up the network without services; returns the namespaces of client and server and the server's address. */
  up(): Promise<{ client: string; server: string; serverIp: string }>;
  /**
   * Applies the plan and returns the milliseconds it took.
   * @throws if it does not fit, or takes longer than `limitMs`
   */
  load(plan: ScalingPlan, limitMs: number): Promise<number>;
  /** Applies the current state of `plan.change`. */
  apply(plan: ScalingPlan): Promise<void>;
  down(): Promise<void>;
}
