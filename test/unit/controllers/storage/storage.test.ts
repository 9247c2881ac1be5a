import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type {
  ClaimSpec,
  KubeObject,
  Manifest,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
} from '../../../../src/api/types/objects.ts';
import { addNode, eventually, pod, refusal, setReady, type TestCluster, withCluster } from '../test-cluster.ts';

type Client = TestCluster['client'];

/** A cluster whose class `standard` makes directories. */
const withVolumes = (body: (cluster: TestCluster, directory: string) => Promise<void>) => async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
  try {
    await withCluster((cluster) => body(cluster, directory), { volumesDirectory: directory })();
  } finally {
    rmSync(directory, { recursive: true });
  }
};

const claim = (name: string, spec: Partial<ClaimSpec> = {}) =>
  ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, ...spec },
  }) as Manifest<PersistentVolumeClaim>;

const volume = (name: string, spec: Partial<PersistentVolume['spec']> = {}, labels = {}) =>
  ({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, labels },
    spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/tmp' }, ...spec },
  }) as Manifest<PersistentVolume>;

const storageClass = (name: string, more: object) =>
  ({ apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name }, ...more }) as Manifest<KubeObject>;

const user = (name: string, claimName: string) =>
  pod(
    name,
    {},
    {
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
      containers: [{ name: 'c', image: 'process', volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
    },
  );

const claimOf = (client: Client, name: string) => client.get('PersistentVolumeClaim', name, 'default');
const phase = (client: Client, kind: 'PersistentVolume' | 'PersistentVolumeClaim', name: string, wanted: string) =>
  eventually(async () => {
    const found = await client.get(kind, name, kind === 'PersistentVolume' ? undefined : 'default');
    if (found.status?.phase === wanted) return found as PersistentVolumeClaim;
    throw new Error(`${name} is ${found.status?.phase}`);
  });
const placed = (client: Client, name: string) =>
  eventually(async () => {
    const found = await client.get('Pod', name, 'default');
    return found.spec.nodeName !== undefined && found;
  });
const pendingWhy = (client: Client, name: string, why: string) =>
  eventually(async () => {
    const found: Pod = await client.get('Pod', name, 'default');
    const message = found.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message ?? '';
    if (message.includes(why)) return true;
    throw new Error(message);
  });
const eventOf = (client: Client, name: string, reason: string) =>
  eventually(async () => {
    const { items } = await client.list('Event', { namespace: 'default' });
    return items.find((event) => event.involvedObject.name === name && event.reason === reason)?.message;
  });

test(
  'a claim without a class gets the default one, and a directory when its first pod has a node',
  withVolumes(async ({ client }, directory) => {
    await addNode(client, 'n1');
    const made = await client.create(claim('data'));
    assert.is(made.spec.storageClassName, 'standard');
    assert.equal(made.metadata.finalizers, ['kubernetes.io/pvc-protection']);
    assert.is(
      await eventOf(client, 'data', 'WaitForFirstConsumer'),
      'waiting for first consumer to be created before binding',
    );
    assert.is((await claimOf(client, 'data')).status?.phase, 'Pending');
    await client.create(user('a', 'data'));
    await placed(client, 'a');
    const { spec, status, metadata } = await phase(client, 'PersistentVolumeClaim', 'data', 'Bound');
    assert.is(spec.volumeName, `pvc-${metadata.uid}`);
    assert.equal(status?.capacity, { storage: '1Gi' });
    assert.equal(status?.accessModes, ['ReadWriteOnce']);
    const { spec: of, metadata: pv } = await client.get('PersistentVolume', spec.volumeName!);
    assert.is(of.hostPath?.path, join(directory, spec.volumeName!));
    assert.is(of.persistentVolumeReclaimPolicy, 'Delete');
    assert.is(pv.annotations?.['pv.kubernetes.io/provisioned-by'], 'dataplane.dev/directory');
    assert.is(statSync(directory).mode & 0o777, 0o700, 'nobody but root may enter the directory of all volumes');
    assert.is(statSync(of.hostPath!.path).mode & 0o777, 0o777, 'any user of any container may write');
  }),
);

test(
  'a claim that is deleted goes when no pod uses it any more, and its directory with it',
  withVolumes(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(claim('data'));
    await client.create(user('a', 'data'));
    await setReady(client, await placed(client, 'a'), true);
    const { spec } = await phase(client, 'PersistentVolumeClaim', 'data', 'Bound');
    const { hostPath } = (await client.get('PersistentVolume', spec.volumeName!)).spec;
    writeFileSync(join(hostPath!.path, 'file'), 'x');
    await client.delete('PersistentVolumeClaim', 'data', { namespace: 'default' });
    assert.ok((await claimOf(client, 'data')).metadata.deletionTimestamp, 'protected while in use');
    await client.create(user('late', 'data'));
    await pendingWhy(client, 'late', '0/1 nodes are available: persistentvolumeclaim "data" is being deleted.');
    await client.patchStatus('Pod', 'a', 'default', { phase: 'Succeeded' });
    await eventually(async () => (await client.find('PersistentVolumeClaim', 'data', 'default')) === undefined);
    await eventually(async () => (await client.find('PersistentVolume', spec.volumeName!)) === undefined);
    await eventually(() => !existsSync(hostPath!.path));
    await pendingWhy(client, 'late', '0/1 nodes are available: persistentvolumeclaim "data" not found.');
  }),
);

test(
  'an Immediate class binds at once; a class that is not there, or not ours, is named in an event',
  withVolumes(async ({ client }) => {
    await client.create(storageClass('now', { provisioner: 'dataplane.dev/directory', reclaimPolicy: 'Retain' }));
    await client.create(claim('a', { storageClassName: 'now' }));
    const { spec } = await phase(client, 'PersistentVolumeClaim', 'a', 'Bound');
    const path = (await client.get('PersistentVolume', spec.volumeName!)).spec.hostPath!.path;
    await client.delete('PersistentVolumeClaim', 'a', { namespace: 'default' });
    await phase(client, 'PersistentVolume', spec.volumeName!, 'Released');
    await client.delete('PersistentVolume', spec.volumeName!);
    await eventually(async () => (await client.find('PersistentVolume', spec.volumeName!)) === undefined);
    assert.ok(existsSync(path), 'with Retain the files stay');

    await client.create(claim('b', { storageClassName: 'later' }));
    assert.is(await eventOf(client, 'b', 'ProvisioningFailed'), 'storageclass.storage.k8s.io "later" not found');
    await client.create(storageClass('later', { provisioner: 'dataplane.dev/directory' }));
    await phase(client, 'PersistentVolumeClaim', 'b', 'Bound');

    await client.create(storageClass('foreign', { provisioner: 'ebs.csi.aws.com' }));
    await client.create(claim('c', { storageClassName: 'foreign' }));
    assert.match(await eventOf(client, 'c', 'ExternalProvisioning'), "external provisioner 'ebs.csi.aws.com'");
    await client.create(claim('d', { storageClassName: 'now', volumeMode: 'Block' }));
    assert.match(await eventOf(client, 'd', 'ProvisioningFailed'), 'volumeMode has to be Filesystem');
  }),
);

test(
  'without a class a claim gets the smallest free volume that is large enough and offers what it asks for',
  withVolumes(async ({ client }) => {
    await client.create(volume('large', { capacity: { storage: '5Gi' } }));
    await client.create(volume('small', { capacity: { storage: '500Mi' } }));
    await client.create(volume('other', { capacity: { storage: '1Gi' }, storageClassName: 'other' }));
    await client.create(volume('fits', { capacity: { storage: '2Gi' } }));
    await client.create(volume('many', { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteMany'] }));
    for (const name of ['large', 'small', 'other', 'fits', 'many'])
      await phase(client, 'PersistentVolume', name, 'Available');
    await client.create(claim('a', { storageClassName: '' }));
    assert.is((await phase(client, 'PersistentVolumeClaim', 'a', 'Bound')).spec.volumeName, 'fits');
    assert.equal((await claimOf(client, 'a')).status?.capacity, { storage: '2Gi' });
    await phase(client, 'PersistentVolume', 'fits', 'Bound');
    await client.create(claim('b', { storageClassName: '', resources: { requests: { storage: '9Gi' } } }));
    assert.is(
      await eventOf(client, 'b', 'FailedBinding'),
      'no persistent volumes available for this claim and no storage class is set',
    );
    await client.create(volume('huge', { capacity: { storage: '9Gi' } }));
    assert.is((await phase(client, 'PersistentVolumeClaim', 'b', 'Bound')).spec.volumeName, 'huge');
    await client.create(claim('c', { storageClassName: '', selector: { matchLabels: { tier: 'x' } } }));
    await client.create(volume('labelled', {}, { tier: 'x' }));
    assert.is((await phase(client, 'PersistentVolumeClaim', 'c', 'Bound')).spec.volumeName, 'labelled');
  }),
);

test(
  'a volume that names a claim waits for it; a claim that names a volume gets that or says why not',
  withVolumes(async ({ client }) => {
    await client.create(volume('kept', { claimRef: { namespace: 'default', name: 'mine' } }));
    await client.create(claim('thief', { storageClassName: '', volumeName: 'kept' }));
    assert.is(await eventOf(client, 'thief', 'FailedBinding'), 'volume "kept" already bound to a different claim.');
    await client.create(claim('mine', { storageClassName: '' }));
    assert.is((await phase(client, 'PersistentVolumeClaim', 'mine', 'Bound')).spec.volumeName, 'kept');
    await client.create(volume('plain'));
    await client.create(claim('wide', { storageClassName: '', volumeName: 'plain', accessModes: ['ReadWriteMany'] }));
    assert.is(
      await eventOf(client, 'wide', 'VolumeMismatch'),
      'Cannot bind to requested volume "plain": incompatible accessMode',
    );
  }),
);

test(
  'a bound claim whose volume disappears is Lost; a volume with Delete that nobody can delete is Failed',
  withVolumes(async (cluster) => {
    const { client } = cluster;
    await client.create(volume('a'));
    await client.create(claim('a', { storageClassName: '' }));
    await phase(client, 'PersistentVolumeClaim', 'a', 'Bound');
    await client.delete('PersistentVolume', 'a');
    assert.ok((await client.get('PersistentVolume', 'a')).metadata.deletionTimestamp, 'protected while bound');
    await client.patch('PersistentVolume', 'a', { metadata: { finalizers: null } });
    await phase(client, 'PersistentVolumeClaim', 'a', 'Lost');
    await client.create(volume('b', { persistentVolumeReclaimPolicy: 'Delete' }));
    await client.create(claim('b', { storageClassName: '' }));
    await phase(client, 'PersistentVolumeClaim', 'b', 'Bound');
    await client.delete('PersistentVolumeClaim', 'b', { namespace: 'default' });
    await phase(client, 'PersistentVolume', 'b', 'Failed');
    assert.match(
      (await client.get('PersistentVolume', 'b')).status?.message ?? '',
      'no deletable volume plugin matched',
    );
  }),
);

test(
  'a pod waits for its claims, goes where their volumes are, and alone to one of ReadWriteOncePod',
  withVolumes(async ({ client }) => {
    await addNode(client, 'n1', { 'kubernetes.io/hostname': 'n1' });
    await addNode(client, 'n2', { 'kubernetes.io/hostname': 'n2' });
    await client.create(user('a', 'missing'));
    await pendingWhy(client, 'a', '0/2 nodes are available: persistentvolumeclaim "missing" not found.');
    await client.create(claim('missing', { storageClassName: '' }));
    await pendingWhy(client, 'a', '0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.');
    const at = (name: string) => ({
      required: { nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [name] }] }] },
    });
    await client.create(
      volume('there', { local: { path: '/tmp' }, hostPath: undefined as never, nodeAffinity: at('n2') }),
    );
    assert.is((await placed(client, 'a')).spec.nodeName, 'n2');
    await client.create(volume('nowhere', { nodeAffinity: at('n9'), capacity: { storage: '3Gi' } }));
    await client.create(claim('b', { storageClassName: '', resources: { requests: { storage: '3Gi' } } }));
    await phase(client, 'PersistentVolumeClaim', 'b', 'Bound');
    await client.create(user('b', 'b'));
    await pendingWhy(client, 'b', "2 node(s) didn't match PersistentVolume's node affinity");
    await client.create(
      storageClass('local', { provisioner: 'kubernetes.io/no-provisioner', volumeBindingMode: 'WaitForFirstConsumer' }),
    );
    await client.create(claim('c', { storageClassName: 'local' }));
    await client.create(user('c', 'c'));
    await pendingWhy(client, 'c', "2 node(s) didn't find available persistent volumes to bind");
    await client.create(volume('c1', { storageClassName: 'local', nodeAffinity: at('n1') }));
    assert.is((await placed(client, 'c')).spec.nodeName, 'n1');

    await client.create(claim('single', { accessModes: ['ReadWriteOncePod'] }));
    await client.create(user('one', 'single'));
    await placed(client, 'one');
    await client.create(user('two', 'single'));
    await pendingWhy(client, 'two', 'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod');
    await client.delete('Pod', 'one', { namespace: 'default', gracePeriodSeconds: 0 });
    await placed(client, 'two');
  }),
);

test(
  'a claim grows where its class allows it, and nothing else of it changes',
  withVolumes(async ({ client }) => {
    await client.create(storageClass('now', { provisioner: 'dataplane.dev/directory', allowVolumeExpansion: true }));
    await client.create(storageClass('fixed', { provisioner: 'dataplane.dev/directory' }));
    for (const name of ['now', 'fixed']) {
      await client.create(claim(name, { storageClassName: name }));
      await phase(client, 'PersistentVolumeClaim', name, 'Bound');
    }
    const grow = (name: string, storage: string) =>
      client.patch(
        'PersistentVolumeClaim',
        name,
        { spec: { resources: { requests: { storage } } } },
        { namespace: 'default' },
      );
    await grow('now', '3Gi');
    await eventually(async () => (await claimOf(client, 'now')).status?.capacity?.storage === '3Gi');
    assert.match((await refusal(grow('fixed', '3Gi'))).message, 'only dynamically provisioned pvc can be resized');
    assert.match((await refusal(grow('now', '1Gi'))).message, 'field can not be less than');
    const moved = client.patch(
      'PersistentVolumeClaim',
      'now',
      { spec: { storageClassName: 'x' } },
      { namespace: 'default' },
    );
    assert.match((await refusal(moved)).message, 'spec is immutable after creation except resources.requests');
  }),
);

test(
  'claims, volumes and classes that cannot be are refused',
  withVolumes(async ({ client }) => {
    const why = async (object: Manifest<KubeObject>) => (await refusal(client.create(object))).message;
    assert.match(await why(claim('a', { accessModes: [] })), 'at least 1 access mode is required');
    assert.match(await why(claim('a', { resources: {} })), 'spec.resources[storage]: Required value');
    assert.match(
      await why(claim('a', { accessModes: ['ReadWriteOncePod', 'ReadOnlyMany'] })),
      'may not use ReadWriteOncePod',
    );
    assert.match(await why(volume('a', { hostPath: undefined as never })), 'must specify a volume type');
    assert.match(await why(volume('a', { local: { path: '/x' } })), 'may not specify more than 1 volume type');
    assert.match(await why(volume('a', { hostPath: { path: '/a/../b' } })), "must not contain '..'");
    assert.match(await why(volume('a', { capacity: { storage: '0' } })), 'must be greater than zero');
  }),
);

test(
  'a StatefulSet keeps its claims, or ends them with itself or with the pod, as its retention policy says',
  withVolumes(async ({ client }) => {
    await addNode(client, 'n1');
    const set = (name: string, policy: object) =>
      client.create({
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name },
        spec: {
          replicas: 2,
          podManagementPolicy: 'Parallel',
          selector: { matchLabels: { app: name } },
          persistentVolumeClaimRetentionPolicy: policy,
          template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'c', image: 'process' }] } },
          volumeClaimTemplates: [
            {
              metadata: { name: 'data' },
              spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
            },
          ],
        },
      } as unknown as Manifest<KubeObject>);
    const claims = async () =>
      (await client.list('PersistentVolumeClaim', { namespace: 'default' })).items.map(({ metadata }) => metadata.name);
    const expectClaims = (wanted: string[]) =>
      eventually(async () => {
        const found = await claims();
        if (JSON.stringify(found) === JSON.stringify(wanted)) return true;
        throw new Error(found.join());
      });
    const gone = async (name: string) => {
      await client.delete('Pod', name, { namespace: 'default', gracePeriodSeconds: 0 }).catch(() => {});
      await eventually(async () => (await client.find('Pod', name, 'default')) === undefined);
    };
    await set('kept', {});
    await set('scaled', { whenScaled: 'Delete' });
    await set('ended', { whenDeleted: 'Delete' });
    const all = ['ended', 'kept', 'scaled'].flatMap((name) => [`data-${name}-0`, `data-${name}-1`]);
    await expectClaims(all);
    for (const name of ['kept', 'scaled', 'ended']) {
      await placed(client, `${name}-1`);
      await client.patch('StatefulSet', name, { spec: { replicas: 1 } }, { namespace: 'default' });
      await gone(`${name}-1`);
    }
    await expectClaims(all.filter((name) => name !== 'data-scaled-1'));
    for (const name of ['kept', 'scaled', 'ended']) {
      await client.delete('StatefulSet', name, { namespace: 'default' });
      await gone(`${name}-0`);
    }
    // The claim of the pod that went when the set was scaled down is the set's again.
    await expectClaims(['data-kept-0', 'data-kept-1', 'data-scaled-0']);
  }),
);

test.run();
