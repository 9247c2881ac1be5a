/**
 * Reads the playground's manifests: the kinds on which the way of a packet depends. What is checked here is what the
 * playground uses; `dataplane apply` checks every field.
 */
import { DEFAULT_CLUSTER_OPTIONS } from '../../api/cluster-options.ts';
import { identityOf } from '../../api/replaced-objects.ts';
import type { KubeObject, Manifest } from '../../api/types/objects.ts';
import { readDocuments } from '../../api/yaml.ts';

/** Kinds with their API version. */
const KINDS: Readonly<Record<string, string>> = {
  Pod: 'v1',
  Service: 'v1',
  ConfigMap: 'v1',
  Namespace: 'v1',
  NetworkPolicy: 'networking.k8s.io/v1',
};
const MAX_OBJECTS = 200;
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

export interface Manifests {
  readonly objects: readonly KubeObject[];
  /** Mistakes, one a line; nothing is used if there are any. */
  readonly mistakes: readonly string[];
}

export function readManifests(text: string): Manifests {
  const objects: KubeObject[] = [];
  const mistakes: string[] = [];
  const seen = new Set<string>();
  for (const { line, value, mistake } of readDocuments(text)) {
    const wrong = mistake === undefined ? mistakeOf(value) : undefined;
    if (mistake !== undefined || wrong !== undefined) {
      mistakes.push(mistake ?? `document at line ${line}: ${wrong}`);
      continue;
    }
    const object = value as KubeObject;
    if (object.kind !== 'Namespace') object.metadata.namespace ??= 'default';
    const key = identityOf(object);
    if (seen.has(key)) mistakes.push(`document at line ${line}: ${key} is there twice`);
    seen.add(key);
    objects.push(object);
  }
  if (objects.length > MAX_OBJECTS) mistakes.push(`${objects.length} objects: expected at most ${MAX_OBJECTS}`);
  return { objects, mistakes };
}

function mistakeOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || Array.isArray(value)) return 'expected an object with apiVersion, kind and metadata';
  const { apiVersion, kind, metadata, spec } = value as Partial<Manifest<KubeObject>> & { spec?: unknown };
  const version = typeof kind === 'string' && Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (version === undefined) return `kind ${String(kind)}: expected one of ${Object.keys(KINDS).join(', ')}`;
  if (apiVersion !== version) return `${kind}: expected apiVersion ${version}, got ${String(apiVersion)}`;
  const name: unknown = metadata?.name;
  if (typeof name !== 'string' || !NAME.test(name)) return `${kind}: expected metadata.name in lower case`;
  const where = `${kind} ${name}`;
  if (kind === 'ConfigMap' || kind === 'Namespace') return undefined;
  if (typeof spec !== 'object' || spec === null) return `${where}: expected spec`;
  if (kind === 'Pod') return podMistake(where, spec as PodLike);
  return kind === 'Service' ? serviceMistake(where, spec as ServiceLike) : undefined;
}

interface PodLike {
  readonly containers?: unknown;
  readonly nodeName?: unknown;
}

function podMistake(where: string, { containers, nodeName }: PodLike): string | undefined {
  if (!Array.isArray(containers) || containers.length === 0) return `${where}: expected spec.containers`;
  if (containers.some((one) => typeof one !== 'object' || one === null))
    return `${where}: expected objects in spec.containers`;
  if (nodeName !== undefined && typeof nodeName !== 'string') return `${where}: expected text in spec.nodeName`;
  return undefined;
}

interface ServiceLike {
  readonly ports?: unknown;
}

function serviceMistake(where: string, { ports }: ServiceLike): string | undefined {
  if (!Array.isArray(ports) || ports.length === 0) return `${where}: expected spec.ports`;
  for (const port of ports as { port?: unknown; nodePort?: unknown }[]) {
    if (!isPort(port?.port)) return `${where}: expected a port from 1 to 65535 in spec.ports`;
    const { nodePort } = port;
    if (nodePort === undefined) continue;
    const [first, last] = DEFAULT_CLUSTER_OPTIONS.nodePortRange;
    if (!isPort(nodePort) || nodePort < first || nodePort > last) {
      return `${where}: nodePort ${String(nodePort)}: expected ${first} to ${last}`;
    }
  }
  return undefined;
}

const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535;
