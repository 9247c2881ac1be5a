/** What a container whose image is not on this machine waits for, in kubelet's terms (image_manager.go). Pure. */
import type { Container } from '../../api/types/objects.ts';
import { parseReference } from '../image/reference.ts';

export interface MissingImage {
  /** Of the container's waiting state. */
  reason: 'ErrImagePull' | 'ImagePullBackOff' | 'ErrImageNeverPull' | 'InvalidImageName';
  message: string;
  events: ['Normal' | 'Warning', reason: string, message: string][];
}

/**
 * @param before the reason for which it has been waiting so far
 * @param advice what to do about it
 */
export function missingImage(
  { image, imagePullPolicy }: Pick<Container, 'image' | 'imagePullPolicy'>,
  before: string | undefined,
  advice: string,
): MissingImage {
  if (parseReference(image) === undefined) {
    const message = `Failed to apply default image tag "${image}": couldn't parse image name "${image}"`;
    return waiting('InvalidImageName', message, ['Warning', 'InspectFailed', message]);
  }
  if (imagePullPolicy === 'Never') {
    const message = `Container image "${image}" is not present with pull policy of Never`;
    return waiting('ErrImageNeverPull', `${message}: ${advice}`, ['Warning', 'ErrImageNeverPull', message]);
  }
  if (before === 'ErrImagePull' || before === 'ImagePullBackOff') {
    const message = `Back-off pulling image "${image}"`;
    return waiting('ImagePullBackOff', `${message}: ErrImagePull: ${advice}`, ['Normal', 'BackOff', message]);
  }
  const failed = waiting('ErrImagePull', advice, ['Warning', 'Failed', `Failed to pull image "${image}": ${advice}`]);
  return { ...failed, events: [['Normal', 'Pulling', `Pulling image "${image}"`], ...failed.events] };
}

function waiting(reason: MissingImage['reason'], message: string, event: MissingImage['events'][number]): MissingImage {
  return { reason, message, events: [event, ['Warning', 'Failed', `Error: ${reason}`]] };
}
