/**
 * Reads objects from manifest files. All of them are read and checked before the first is used; an error has file,
 * document, path and what was expected.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { resourceOfKind } from '../../api/resources.ts';
import { type FieldWarning, validate, withoutNulls } from '../../api/schema/schema.ts';
import type { KubeObject, Manifest } from '../../api/types/objects.ts';
import { readDocuments } from '../../api/yaml.ts';
import { ClusterError, ManifestError } from '../errors.ts';

export interface Document {
  /** `FILE: document 2` (and `, item 3` inside a List). */
  where: string;
  object: Manifest<KubeObject>;
  /** Fields that have no effect here. */
  warnings: readonly FieldWarning[];
}

/** The text of one file, or of stdin. */
export interface Source {
  name: string;
  text: string;
}

const MANIFEST = /\.(ya?ml|json)$/;
/**
 * The texts for the arguments of `-f`: files, directories, or `-` for stdin. @throws ClusterError if one cannot be read
 */
export function readSources(paths: readonly string[], recursive = false): Source[] {
  return paths.flatMap((path) => {
    if (path === '-') return [{ name: 'stdin', text: readFileSync(0, 'utf8') }];
    try {
      if (!statSync(path).isDirectory()) return [{ name: path, text: readFileSync(path, 'utf8') }];
      const files = manifestsIn(path, recursive);
      if (files.length === 0)
        throw new ClusterError('FILE', `${path}: this directory has no .yaml, .yml or .json file`);
      return files.map((file) => ({ name: file, text: readFileSync(file, 'utf8') }));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') throw new ClusterError('FILE', `${path}: no such file or directory`);
      if (code === 'EACCES') throw new ClusterError('FILE', `${path}: permission denied`, 'check its permissions');
      throw error;
    }
  });
}

function manifestsIn(directory: string, recursive: boolean): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return recursive ? manifestsIn(path, true) : [];
      return MANIFEST.test(entry.name) ? [path] : [];
    });
}

/**
 * All objects of all files, checked. Objects without a namespace get `namespace`.
 * @throws ManifestError with every mistake
 */
export function parseManifests(sources: readonly Source[], namespace = 'default'): Document[] {
  const errors: string[] = [];
  const documents = sources.flatMap((source) => parseSource(source, errors));
  const first = new Map<string, string>();
  for (const { where, object } of documents) {
    const resource = resourceOfKind(object.kind);
    if (resource?.namespaced && object.metadata.namespace === undefined) object.metadata.namespace = namespace;
    const { name, namespace: home } = object.metadata;
    if (name === undefined) continue;
    const key = `${object.kind} ${home === undefined || home === 'default' ? '' : `${home}/`}${name}`;
    const before = first.get(key);
    if (before !== undefined) errors.push(`${where}: ${key} is already in ${before}`);
    else first.set(key, where);
  }
  if (errors.length > 0) throw new ManifestError(errors);
  return documents;
}

function parseSource({ name, text }: Source, errors: string[]): Document[] {
  const documents: Document[] = [];
  for (const { number, value, mistake } of readDocuments(text)) {
    const where = `${name}: document ${number}`;
    if (mistake === undefined) collect(value, where, documents, errors);
    else errors.push(`${where}: ${mistake}`);
  }
  return documents;
}

function collect(value: unknown, where: string, documents: Document[], errors: string[]): void {
  const list = value as { kind?: unknown; items?: unknown };
  if (typeof value === 'object' && list.kind === 'List' && Array.isArray(list.items)) {
    list.items.forEach((item, i) => {
      collect(item, `${where}, item ${i + 1}`, documents, errors);
    });
    return;
  }
  const checked = validate(value);
  for (const { path, message } of checked.errors) {
    errors.push(path === '' ? `${where}: ${message}` : `${where}: ${path}: ${message}`);
  }
  if (checked.errors.length > 0) return;
  const object = structuredClone(withoutNulls(value)) as Manifest<KubeObject>;
  documents.push({ where, object, warnings: checked.warnings });
}

/** Dependencies first: namespaces, then configuration, then services (for their addresses), then everything else. */
const ORDER: readonly string[] = ['Namespace', 'Node', 'ConfigMap', 'Secret', 'Service', 'Endpoints', 'EndpointSlice'];

/** The documents in the order in which they are applied; stable within a kind. */
export function inOrder(documents: readonly Document[]): Document[] {
  const rank = ({ object }: Document) => {
    const at = ORDER.indexOf(object.kind);
    return at < 0 ? ORDER.length : at;
  };
  return [...documents].sort((a, b) => rank(a) - rank(b));
}
