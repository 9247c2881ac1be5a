/** The labels of a namespace. */
import type { Labels } from './selectors.ts';
import { WellKnown } from './types/objects.ts';

/** With its name, which the API server sets so that selectors can name it (k8s.io/api/core/v1 LabelMetadataName). */
export function namespaceLabels({
  name,
  labels,
}: {
  readonly name: string;
  readonly labels?: Labels;
}): Record<string, string> {
  return { ...labels, [WellKnown.NAMESPACE_NAME]: name };
}
