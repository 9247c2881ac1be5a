/**
 * Port policy: may this connection be made at all? Under "declared" a pod accepts connections only on the ports its
 * manifest declares; under "open", Kubernetes' own behaviour, on any.
 *
 * Checked once per connection, for the packet as it will arrive (after the service's translation) and for its real
 * source (CVE-2021-25740: never for a load balancer's identity).
 */
import type { Dataplane } from '../dataplane.ts';
import { NodeWord, PortPolicy } from '../node/config.ts';
import { portDeclared } from '../node/declared-ports.ts';
import { HopKind, hopKind } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP } from '../protocols.ts';
import { Verdict } from '../verdicts.ts';

/** GO_ON, or PORT_NOT_DECLARED. ICMP queries always pass: they use no port. */
export function checkPolicy(pkt: Packet, dp: Dataplane, hop: number): Verdict {
  if (dp.node.config[NodeWord.PORT_POLICY] !== PortPolicy.DECLARED) return Verdict.GO_ON;
  if (hopKind(dp.node, hop) !== HopKind.POD || pkt.protocol === PROTOCOL_ICMP) return Verdict.GO_ON;
  const port = pkt.dnat ? pkt.newDstPort : pkt.dstPort;
  return portDeclared(dp.node, hop, pkt.protocol, port) ? Verdict.GO_ON : Verdict.PORT_NOT_DECLARED;
}
