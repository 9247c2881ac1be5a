/** Checks of manifests that need no cluster: will their namespaces, nodes and images exist? */
import type { Deployment, PodSpec } from '../../api/types/objects.ts';
import { type Catalogue, loadCatalogue } from '../../runtime/image/catalogue.ts';
import { ClusterError } from '../errors.ts';
import type { ClusterNode } from '../state.ts';
import type { Document } from './manifests.ts';

const NAMESPACES = ['default', 'kube-node-lease', 'kube-public', 'kube-system'];

/** @throws ClusterError that names the document and the image */
export function checkImages(documents: readonly Document[], catalogueFiles: readonly string[]): void {
  const [first] = missingImages(documents, catalogueFiles);
  if (first !== undefined) throw new ClusterError('MANIFEST', first);
}

/** One sentence for each container whose image is in no catalogue. @throws ClusterError for an invalid catalogue */
export function missingImages(documents: readonly Document[], catalogueFiles: readonly string[]): string[] {
  let catalogue: Catalogue;
  try {
    catalogue = loadCatalogue(catalogueFiles);
  } catch (error) {
    throw new ClusterError('FILE', (error as Error).message, 'correct this catalogue file');
  }
  return documents.flatMap(({ where, object }) => {
    const { initContainers = [], containers = [] } = podSpecOf(object) ?? {};
    return [...initContainers, ...containers]
      .filter(({ image }) => catalogue.find(image) === undefined)
      .map(({ name, image }) => `${where}: container ${name}: ${catalogue.explainMissing(image)}`);
  });
}

/** @throws ClusterError that names the document */
export function checkPlacement(documents: readonly Document[], nodes: readonly ClusterNode[]): void {
  const named = (kind: string) =>
    documents.filter(({ object }) => object.kind === kind).map(({ object }) => object.metadata.name!);
  const namespaces = new Set([...NAMESPACES, ...named('Namespace')]);
  const nodeNames = new Set([...nodes.map(({ name }) => name), ...named('Node')]);
  for (const { where, object } of documents) {
    const { namespace } = object.metadata;
    if (namespace !== undefined && !namespaces.has(namespace)) {
      const what = `${where}: metadata.namespace: there is no namespace "${namespace}"`;
      throw new ClusterError('MANIFEST', what, 'add one to the files');
    }
    const nodeName = podSpecOf(object)?.nodeName;
    if (nodeName !== undefined && !nodeNames.has(nodeName)) {
      const known = [...nodeNames].join(', ');
      const what = `${where}: spec.nodeName: there will be no node "${nodeName}", only ${known}`;
      throw new ClusterError('MANIFEST', what, 'see --nodes');
    }
  }
}

function podSpecOf(object: Document['object']): PodSpec | undefined {
  if (object.kind === 'Pod') return (object as unknown as { spec: PodSpec }).spec;
  if (object.kind === 'Deployment') return (object as unknown as Deployment).spec.template.spec;
  return undefined;
}
