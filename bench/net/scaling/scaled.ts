/** What the scaling benchmark asks of each contender. */
import type { ScalingPlan } from './plan.ts';

export interface Scaled {
  name: string;
  title: string;
  about: string;
  unavailable(): string | undefined;
  /** The empty world; returns the namespaces of client and server and the server's address. */
  up(): Promise<{ client: string; server: string; serverIp: string }>;
  /** Puts the plan in force and returns the milliseconds it took. @throws when it cannot hold it, or not within `limitMs` */
  load(plan: ScalingPlan, limitMs: number): Promise<number>;
  /** Makes `plan.change` as it now is come into force. */
  apply(plan: ScalingPlan): Promise<void>;
  down(): Promise<void>;
}
