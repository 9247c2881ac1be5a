/** Checks of manifests that need no cluster: will their namespaces, nodes and images exist? */
import { Images } from '../../runtime/image/images.ts';
import { ClusterError } from '../errors.ts';
import type { ClusterNode } from '../state.ts';
import { podSpecOf } from '../workload-kinds.ts';
import type { Document } from './manifests.ts';

const NAMESPACES = ['default', 'kube-node-lease', 'kube-public', 'kube-system'];

/** @throws ClusterError that names the document and the image */
export function checkImages(documents: readonly Document[], catalogueFiles: readonly string[]): void {
  const [first] = missingImages(documents, catalogueFiles);
  if (first !== undefined) throw new ClusterError('MANIFEST', first);
}

/** One sentence for each container whose image is neither loaded nor in a catalogue. @throws ClusterError for an invalid catalogue */
export function missingImages(documents: readonly Document[], catalogueFiles: readonly string[]): string[] {
  let images: Images;
  try {
    images = new Images(catalogueFiles);
  } catch (error) {
    throw new ClusterError('FILE', (error as Error).message, 'correct this catalogue file');
  }
  return documents.flatMap(({ where, object }) => {
    const { initContainers = [], containers = [] } = podSpecOf(object) ?? {};
    return [...initContainers, ...containers]
      .filter(({ image }) => images.find(image) === undefined)
      .map(({ name, image }) => `${where}: container ${name}: ${images.explainMissing(image)}`);
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
