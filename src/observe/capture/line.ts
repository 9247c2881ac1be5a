/** A captured frame as one line, as tcpdump prints one, with the port, the number of the packet and its verdict. */
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { verdictName } from '../../../native-free-dataplane/verdicts.ts';
import type { CapturedPacket } from './packet.ts';
import type { PortIdentity } from './ports.ts';

/** `14:03:07.123456 n1/default/mc3/eth0 In  1#42 tcp 10.244.1.2:4000 > 10.96.0.10:80 S … [forwarded]` */
export function packetLine(packet: CapturedPacket, { name }: PortIdentity): string {
  const { point, worker, number, bytes, originalBytes, verdict, deniedBy } = packet;
  const denier = deniedBy === undefined ? '' : ` by ${deniedBy}`;
  const truncated = bytes.length < originalBytes ? ` (${bytes.length} of ${originalBytes} bytes)` : '';
  const direction = point === 'sent' ? 'Out' : 'In ';
  return `${timeText(packet)} ${name} ${direction} ${worker}#${number} ${printBytes(bytes)}${truncated} [${verdictName(verdict)}${denier}]`;
}

/** The time of day with microseconds, in the local time zone. */
function timeText({ seconds, nanoseconds }: CapturedPacket): string {
  const date = new Date(seconds * 1000);
  const [hours, minutes, rest] = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) =>
    String(part).padStart(2, '0'),
  );
  return `${hours}:${minutes}:${rest}.${String(Math.floor(nanoseconds / 1000)).padStart(6, '0')}`;
}
