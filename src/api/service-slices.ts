/** The EndpointSlices of a Service. */
import { type EndpointSlice, type Service, WellKnown } from './types/objects.ts';

/** Those of `slices` that belong to the Service, by their label. */
export function slicesOfService({ metadata }: Service, slices: readonly EndpointSlice[]): EndpointSlice[] {
  const namespace = metadata.namespace ?? 'default';
  return slices.filter(
    ({ metadata: own }) =>
      (own.namespace ?? 'default') === namespace && own.labels?.[WellKnown.SERVICE_NAME] === metadata.name,
  );
}
