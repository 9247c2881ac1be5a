/** The environment, command and arguments of a container, by Kubernetes' rules (kubelet_pods.go, expansion.go). */
import { dirname } from 'node:path';
import type { ConfigMap, Container, Pod, Secret } from '../../api/types/objects.ts';
import { type ConfigSource, ContainerConfigError } from '../files/config-source.ts';
import type { CatalogueImage } from '../image/catalogue-image.ts';
import { resourceText, thisMachine } from './resource-field.ts';

const STANDARD_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface EnvironmentFacts {
  podIP: string;
  hostIP: string;
  hostname: string;
  /** Absent with an image that has accounts of its own: the launcher sets HOME. */
  home?: string;
  /** Variables for Services (service-environment.ts); the container's own take precedence. */
  services?: ReadonlyMap<string, string>;
}

/** @throws ContainerConfigError if a referenced object does not exist */
export async function environmentOf(
  pod: Pod,
  container: Container,
  image: CatalogueImage,
  facts: EnvironmentFacts,
  source: ConfigSource,
): Promise<Map<string, string>> {
  const env = new Map([
    ['PATH', image.hostPath ? hostPath() : STANDARD_PATH],
    ['HOSTNAME', facts.hostname],
    ...(facts.home === undefined ? [] : ([['HOME', facts.home]] as const)),
    ...Object.entries(image.env ?? {}),
    ...(facts.services ?? []),
  ]);
  const namespace = pod.metadata.namespace ?? 'default';
  // `$(NAME)` can refer to the container's own variables so far, but not to the image's.
  const known = new Map<string, string>(facts.services);
  const set = (name: string, value: string) => {
    env.set(name, value);
    known.set(name, value);
  };
  for (const from of container.envFrom ?? []) {
    const data = from.configMapRef
      ? configMapTexts(await source.configMap(namespace, from.configMapRef.name, from.configMapRef.optional))
      : from.secretRef
        ? secretTexts(await source.secret(namespace, from.secretRef.name, from.secretRef.optional))
        : new Map<string, string>();
    for (const [key, value] of data) if (isVariableName(key)) set((from.prefix ?? '') + key, value);
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (valueFrom?.fieldRef) set(name, fieldOf(pod, valueFrom.fieldRef.fieldPath, facts));
    else if (valueFrom?.resourceFieldRef) {
      set(name, resourceText(pod.spec, valueFrom.resourceFieldRef, thisMachine(), container));
    } else if (valueFrom?.configMapKeyRef) {
      const { name: map, key, optional } = valueFrom.configMapKeyRef;
      const found = configMapTexts(await source.configMap(namespace, map, optional)).get(key);
      if (found !== undefined) set(name, found);
      else if (!optional) throw new ContainerConfigError(`couldn't find key ${key} in ConfigMap ${namespace}/${map}`);
    } else if (valueFrom?.secretKeyRef) {
      const { name: secret, key, optional } = valueFrom.secretKeyRef;
      const found = secretTexts(await source.secret(namespace, secret, optional)).get(key);
      if (found !== undefined) set(name, found);
      else if (!optional) throw new ContainerConfigError(`couldn't find key ${key} in Secret ${namespace}/${secret}`);
    } else set(name, expand(value ?? '', known));
  }
  return env;
}

/** The command line to run. @throws ContainerConfigError if there is none */
export function commandOf(container: Container, image: CatalogueImage, env: ReadonlyMap<string, string>): string[] {
  const command = container.command?.length ? container.command : undefined;
  const args = container.args?.length ? container.args : undefined;
  // A `command` without `args` also drops the image's own arguments.
  const expanded = (texts: string[] | undefined) => texts?.map((text) => expand(text, env));
  const words = [
    ...(expanded(command) ?? image.entrypoint ?? []),
    ...(expanded(args) ?? (command === undefined ? (image.cmd ?? []) : [])),
  ];
  if (words.length === 0)
    throw new ContainerConfigError(`image "${container.image}" needs a command: set command or args`);
  return words;
}

/** `$(NAME)` becomes the variable's value, `$$` a dollar sign; unknown names are left unchanged. */
export function expand(text: string, env: ReadonlyMap<string, string>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, second: string, name: string) =>
    second === '$' ? '$' : (env.get(name) ?? whole),
  );
}

/** @throws ContainerConfigError for a path that is not supported */
export function fieldOf(pod: Pod, path: string, facts: Pick<EnvironmentFacts, 'podIP' | 'hostIP'>): string {
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (keyed !== null) return metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2]!] ?? '';
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace ?? 'default';
    case 'metadata.uid':
      return metadata.uid;
    case 'spec.nodeName':
      return spec.nodeName ?? '';
    case 'spec.serviceAccountName':
      return spec.serviceAccountName ?? 'default';
    case 'status.podIP':
    case 'status.podIPs':
      return facts.podIP;
    case 'status.hostIP':
    case 'status.hostIPs':
      return facts.hostIP;
    default:
      throw new ContainerConfigError(`fieldPath "${path}" is not supported`);
  }
}

const configMapTexts = (map: ConfigMap | undefined): Map<string, string> => new Map(Object.entries(map?.data ?? {}));

const secretTexts = (secret: Secret | undefined): Map<string, string> =>
  new Map(Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]));

const isVariableName = (name: string): boolean => /^[-._a-zA-Z][-._a-zA-Z0-9]*$/.test(name);

/** The standard directories, then the agent's own PATH, then the directory of this Node.js. */
function hostPath(): string {
  const own = (process.env.PATH ?? '').split(':').filter((directory) => directory.startsWith('/'));
  return [...new Set([...STANDARD_PATH.split(':'), ...own, dirname(process.execPath)])].join(':');
}
