/**
 * The history of a StatefulSet's or DaemonSet's templates as ControllerRevisions (pkg/controller/history), which
 * `kubectl rollout history` and `undo` read.
 */
import { resourceOfKind } from '../../api/resources.ts';
import type { ControllerRevision, DaemonSet, PodTemplate, StatefulSet } from '../../api/types/objects.ts';
import type { Cluster } from '../cluster.ts';
import { Owned, ownedBy } from './owners.ts';
import { templateHash } from './template-hash.ts';

const REVISIONS = resourceOfKind('ControllerRevision')!;
/** Label of pods and revisions. */
export const REVISION_HASH = 'controller-revision-hash';
const DEFAULT_LIMIT = 10;

type Revised = StatefulSet | DaemonSet;

export class Revisions<K extends 'StatefulSet' | 'DaemonSet'> {
  private readonly cluster: Cluster;
  private readonly owned: Owned<'ControllerRevision', K>;

  constructor(cluster: Cluster, owner: K) {
    this.cluster = cluster;
    this.owned = new Owned(cluster.store, 'ControllerRevision', owner);
    // This queue does nothing: owners are queued elsewhere, by their own changes and those of their pods.
    this.owned.queueOwners(cluster.queue(`revisions of ${owner}`, () => {}));
  }

  /** The revision of the owner's current template: created if it is new, made the newest again after a rollback. */
  ensure(owner: Revised): ControllerRevision {
    const { store, registry } = this.cluster;
    const { namespace, name } = owner.metadata;
    const template: PodTemplate & { $patch: 'replace' } = { ...owner.spec.template, $patch: 'replace' };
    const hash = templateHash(owner.spec.template);
    const all = this.owned.of(owner);
    const newest = Math.max(0, ...all.map(({ revision }) => revision));
    const found = store.get('ControllerRevision', namespace, `${name}-${hash}`);
    if (found !== undefined) {
      return found.revision === newest ? found : registry.write({ ...found, revision: newest + 1 }, found);
    }
    const { object } = registry.create(
      REVISIONS,
      namespace,
      {
        apiVersion: 'apps/v1',
        kind: 'ControllerRevision',
        metadata: {
          name: `${name}-${hash}`,
          namespace,
          labels: { ...owner.spec.template.metadata?.labels, [REVISION_HASH]: hash },
          annotations: changeCause(owner),
          ownerReferences: [ownedBy(owner)],
        },
        data: { spec: { template } },
        revision: newest + 1,
      },
      { fieldValidation: 'Ignore' },
    );
    return object as ControllerRevision;
  }

  /** The template of the revision with this name. */
  templateOf(owner: Revised, name: string): PodTemplate | undefined {
    const found = this.cluster.store.get('ControllerRevision', owner.metadata.namespace, name);
    if (found?.data === undefined) return undefined;
    const { $patch: _, ...template } = found.data.spec.template;
    return template;
  }

  /** Deletes unused revisions beyond the history limit, the oldest first. */
  forget(owner: Revised, inUse: ReadonlySet<string>): void {
    const idle = this.owned
      .of(owner)
      .filter(({ metadata }) => !inUse.has(metadata.labels?.[REVISION_HASH] ?? ''))
      .sort((a, b) => b.revision - a.revision);
    for (const { metadata } of idle.slice(owner.spec.revisionHistoryLimit ?? DEFAULT_LIMIT)) {
      this.cluster.registry.delete(REVISIONS, metadata.namespace, metadata.name);
    }
  }
}

function changeCause({ metadata }: Revised): Record<string, string> {
  const cause = metadata.annotations?.['kubernetes.io/change-cause'];
  return cause === undefined ? {} : { 'kubernetes.io/change-cause': cause };
}

/** The hash in the label of this revision's pods. */
export const hashOf = ({ metadata }: ControllerRevision): string => metadata.labels?.[REVISION_HASH] ?? '';
