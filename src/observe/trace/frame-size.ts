/** Sizes of frames that a pipeline of this process is given, when they do not come from a device. */
import { ETHERNET_BYTES } from '../../../native-free-dataplane/wire/ethernet.ts';
import { IPV4_MIN_BYTES } from '../../../native-free-dataplane/wire/ipv4.ts';

/** An Ethernet and an IPv4 header. */
export const MIN_FRAME_BYTES: number = ETHERNET_BYTES + IPV4_MIN_BYTES;
/** An Ethernet header and the longest IPv4 packet (RFC 791 §3.1): no device delivers a longer frame. */
export const MAX_FRAME_BYTES: number = ETHERNET_BYTES + 65_535;
