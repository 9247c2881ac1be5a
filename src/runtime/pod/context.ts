/** Shared by the parts of one pod: its manifest, its record, and callbacks to the outside. */
import type { Pod } from '../../api/types/objects.ts';
import type { ContainerFacts } from '../container/plan.ts';
import type { ConfigSource } from '../files/config-source.ts';
import type { Images } from '../image/images.ts';
import type { OciRuntimes } from '../oci/runtimes.ts';
import type { PodState } from '../state.ts';
import type { PodGroups } from './groups.ts';

export interface PodContext {
  /** As last seen. */
  readonly pod: Pod;
  readonly state: PodState;
  readonly stateDir: string;
  readonly podDir: string;
  readonly source: ConfigSource;
  readonly backOffMs: number;
  facts(): Omit<ContainerFacts, 'instance'>;
  readonly images: Images;
  readonly groups: PodGroups;
  readonly runtimes: OciRuntimes;
  log(message: string): void;
  /** Write the record to disk. */
  save(): void;
  /** Something changed: reconcile the pod soon. */
  wake(): void;
  /** @param fieldPath the part of the pod it is about, such as `spec.containers{main}` */
  event(type: 'Normal' | 'Warning', reason: string, message: string, fieldPath?: string): void;
}
