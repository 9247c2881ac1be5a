/** The ends of a tracked connection by name. */
import { type FlowText, printFlow } from '../../../native-free-dataplane/print/flow.ts';
import type { StepNames } from './names.ts';

/** `pod default/client > default/web:http > pod default/web`: the client, the Service that was asked for, and who answers. */
export function namedEnds({ protocol, original, reply, status }: FlowText, names: StepNames): string {
  const [client, server] = [names.address(original.src), names.address(reply.src)];
  if (!status.includes('DST_NAT')) return `${client} > ${server}`;
  return `${client} > ${names.service(original.dst, protocol, original.dstPort)} > ${server}`;
}

/** The line of `conntrack -L`, and the names behind it. */
export const printNamedFlow = (flow: FlowText, names: StepNames): string =>
  `${printFlow(flow)} (${namedEnds(flow, names)})`;
