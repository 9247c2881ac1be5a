/**
 * Admission of a pod's service account: the account's name, and the volume with its token, the authority's certificate
 * and the namespace, mounted where client libraries expect it (plugin/pkg/admission/serviceaccount).
 */
import { forbidden } from '../../api/errors.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Store } from '../../api/store/store.ts';
import type { Container, KubeObject, Pod, Volume } from '../../api/types/objects.ts';
import { DEFAULT_ACCOUNT, ROOT_CA } from './service-accounts.ts';

const MOUNT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
/** A token is renewed after four fifths of this, so it never expires in use. */
const TOKEN_SECONDS = 3607;
const VOLUME_PREFIX = 'kube-api-access-';
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

interface Account extends KubeObject {
  automountServiceAccountToken?: boolean;
  imagePullSecrets?: { name: string }[];
}

/** @throws ApiError 403 if the account that the pod names does not exist */
export function withServiceAccount(store: Store, pod: Pod): Pod {
  const name = pod.spec.serviceAccountName || pod.spec.serviceAccount || DEFAULT_ACCOUNT;
  const account = store.get('ServiceAccount', pod.metadata.namespace, name) as Account | undefined;
  if (account === undefined && name !== DEFAULT_ACCOUNT) {
    const { namespace } = pod.metadata;
    const why = `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`;
    throw forbidden(resourceOfKind('Pod')!, pod.metadata.name, why);
  }
  const spec = { ...pod.spec, serviceAccountName: name, serviceAccount: name };
  const automount = pod.spec.automountServiceAccountToken ?? account?.automountServiceAccountToken ?? true;
  if (!automount) return { ...pod, spec };
  const volumes = spec.volumes ?? [];
  const known = volumes.find((volume) => volume.name.startsWith(VOLUME_PREFIX) && volume.projected !== undefined);
  const volume = known ?? tokenVolume();
  const mounted = (container: Container): Container => {
    const mounts = container.volumeMounts ?? [];
    if (mounts.some(({ mountPath }) => mountPath === MOUNT_PATH)) return container;
    return { ...container, volumeMounts: [...mounts, { name: volume.name, mountPath: MOUNT_PATH, readOnly: true }] };
  };
  return {
    ...pod,
    spec: {
      ...spec,
      volumes: known === undefined ? [...volumes, volume] : volumes,
      containers: spec.containers.map(mounted),
      ...(spec.initContainers && { initContainers: spec.initContainers.map(mounted) }),
    },
  };
}

function tokenVolume(): Volume {
  let suffix = '';
  for (let i = 0; i < 5; i++) suffix += LETTERS[Math.floor(Math.random() * LETTERS.length)];
  return {
    name: `${VOLUME_PREFIX}${suffix}`,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: 'token' } },
        { configMap: { name: ROOT_CA, items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        {
          downwardAPI: {
            items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
          },
        },
      ],
    },
  };
}
