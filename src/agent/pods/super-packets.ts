/** How large the super-packets are that the kernel hands to the devices of pods. */
import { OVERLAYS, type OverlayName } from '../../../native-free-dataplane/overlay/modes.ts';
import { segmentsOfTrain } from '../../../native-free-dataplane/train.ts';
import type { LinkChange } from '../../linux/rtnetlink.ts';
import type { TapFeatures } from '../../linux/tap.ts';

/**
 * Largest super-packet, bytes: after encapsulation it must still fit 64 KiB (linux tun_vnet: inner frame ≤ 65499).
 */
export const GSO_MAX_BYTES = 65000;
/** No limit of segments: linux include/linux/netdevice.h, GSO_MAX_SEGS. */
const GSO_MAX_SEGMENTS = 65535;

/**
 * The limits of a pod's device. Where super-packets leave the node as trains (train.ts), one fits one train.
 * @param node features of the node's dp0
 * @param mtu of the pods
 */
export function superPacketLimits(
  overlay: OverlayName,
  node: Pick<TapFeatures, 'tunnelOffload' | 'udpSegmentation'>,
  mtu: number,
): Required<Pick<LinkChange, 'gsoMaxBytes' | 'gsoMaxSegments'>> {
  const { inTrains = false, overheadBytes } = OVERLAYS[overlay];
  const limited = inTrains && node.udpSegmentation && !node.tunnelOffload;
  const gsoMaxSegments = limited ? segmentsOfTrain(mtu, overheadBytes) : GSO_MAX_SEGMENTS;
  return { gsoMaxBytes: GSO_MAX_BYTES, gsoMaxSegments };
}
