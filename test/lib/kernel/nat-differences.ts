/**
 * Intended differences between a node of ours and the kernel; docs/semantics.md has the same list. Each entry decides
 * for a step whether it is an instance of that difference, to the byte if both send something.
 */
import { viewOf } from '../frames/frame-builder.ts';
import { residueOf } from '../frames/frame-residue.ts';
import { transportAt } from '../frames/reverse-packet.ts';
import { isInFragments, ROUTER, reassembled, type Step } from './nat-lockstep.ts';

export interface Difference {
  name: string;
  /** Text of its row in the table of docs/semantics.md. */
  documented: string;
  /** Why ours differs. */
  reason: string;
  happened(step: Step): boolean;
}

const TCP = 6;
const UDP = 17;
const ERRORS: readonly number[] = [3, 4, 5, 11, 12];

const first = ({ packets }: Step): Uint8Array => packets[0] as Uint8Array;
const isError = (bytes: Uint8Array): boolean => bytes[9] === 1 && ERRORS.includes(bytes[transportAt(bytes)] ?? 0);
const onlyOurs = ({ ours, kernel }: Step): boolean => ours.length === 1 && kernel.length === 0;
const onlyKernel = ({ ours, kernel }: Step): boolean => ours.length === 0 && kernel.length === 1;
/** Offset of the transport header of the packet quoted in an error. */
const quotedTransport = (bytes: Uint8Array): number =>
  transportAt(bytes) + 8 + (((bytes[transportAt(bytes) + 8] ?? 0) & 15) << 2);
const ones = (bytes: Uint8Array, from: number, to: number): number => {
  let sum = 0;
  for (let at = from; at < to; at++) sum += (bytes[at] ?? 0) << (((at - from) & 1) === 0 ? 8 : 0);
  return sum % 0xffff;
};
const refused = (step: Step, verdict: string): boolean => onlyKernel(step) && step.verdicts[0] === verdict;

/** Did both send one packet to the same side, equal except for these bytes? */
function equalBut({ ours, kernel }: Step, ranges: readonly (readonly [from: number, to: number])[]): boolean {
  const [one, two] = [ours[0], kernel[0]];
  if (ours.length !== 1 || kernel.length !== 1 || one?.side !== two?.side) return false;
  const [a, b] = [one?.bytes.slice() as Uint8Array, two?.bytes.slice() as Uint8Array];
  for (const [from, to] of ranges) for (const bytes of [a, b]) bytes.fill(0, from, to);
  return Buffer.from(a).equals(b);
}

/** Are the checksums of our packet right? */
function isSound({ ours }: Step): boolean {
  const bytes = ours[0]?.bytes;
  if (bytes === undefined) return false;
  return residueOf(viewOf(bytes), 0, false).value === 0 && ones(bytes, 0, transportAt(bytes)) === 0;
}

function optionsEqualBut(step: Step): boolean {
  return (
    transportAt(first(step)) > 20 &&
    isSound(step) &&
    equalBut(step, [
      [10, 12],
      [20, transportAt(first(step))],
    ])
  );
}

export const DIFFERENCES: readonly Difference[] = [
  {
    name: 'udp-surplus',
    documented: 'bytes behind the UDP length',
    reason: 'the checksum ends where the UDP length does (RFC 768); the kernel sums what lies behind as well',
    happened(step) {
      const bytes = first(step);
      const l4 = transportAt(bytes);
      if (!onlyOurs(step) || isInFragments(step) || bytes[9] !== UDP) return false;
      const length = viewOf(bytes).getUint16(l4 + 4);
      if (length >= bytes.length - l4) return false;
      return (ones(bytes, l4, l4 + length) + ones(bytes, 12, 20) + UDP + length) % 0xffff === 0;
    },
  },
  {
    name: 'transport-checksum',
    documented: 'transport checksums are not verified',
    reason: 'changed by the difference, never verified: what came damaged leaves exactly as damaged (RFC 1624 §3)',
    happened(step) {
      const residue = residueOf(viewOf(first(step)), 0, false);
      if (!onlyOurs(step) || isError(first(step)) || residue.kind !== 'full' || residue.value === 0) return false;
      return residueOf(viewOf(step.ours[0]?.bytes as Uint8Array), 0, false).value === residue.value;
    },
  },
  {
    name: 'quote-header-checksum',
    documented: 'quoted IP header is damaged',
    reason: 'an error whose quoted header has a wrong checksum is dropped (RFC 5508 REQ-3)',
    happened(step) {
      const from = transportAt(first(step)) + 8;
      return (
        refused(step, 'icmp-error-malformed') &&
        isError(first(step)) &&
        ones(first(step), from, quotedTransport(first(step))) !== 0
      );
    },
  },
  {
    name: 'quote-under-8-bytes',
    documented: 'less than eight bytes',
    reason: 'an error quotes eight bytes of the transport header at least (RFC 792); without, it proves nothing',
    happened: (step) =>
      refused(step, 'icmp-error-malformed') &&
      isError(first(step)) &&
      first(step).length - quotedTransport(first(step)) < 8,
  },
  {
    name: 'quote-ends-behind-checksum',
    documented: 'a quoted TCP checksum is corrected',
    reason: 'a quoted TCP checksum is made right when it is there, also when the header’s end is not (RFC 3022 §4.3)',
    happened(step) {
      const l4 = quotedTransport(first(step));
      const bytes = first(step).length - l4;
      if (!isError(first(step)) || (bytes !== 18 && bytes !== 19) || !isSound(step)) return false;
      const outer = transportAt(first(step)) + 2;
      return equalBut(step, [
        [outer, outer + 2],
        [l4 + 16, l4 + 18],
      ]);
    },
  },
  {
    name: 'redirect',
    documented: 'ICMP redirects are always dropped',
    reason: 'redirects are dropped for every connection, the kernel’s only for translated ones (CVE-2020-10749)',
    happened: (step) => refused(step, 'icmp-redirect'),
  },
  {
    name: 'router-keeps-address',
    documented: "an ICMP error from a router keeps the router's address",
    reason: 'a pod learns which router speaks, so that traceroute works (RFC 5508 REQ-4); the kernel masquerades it',
    happened: (step) =>
      isError(first(step)) &&
      equalBut(step, [
        [10, 12],
        [12, 16],
      ]) &&
      isSound(step) &&
      [...(step.ours[0]?.bytes.subarray(12, 16) ?? [])].join('.') === ROUTER,
  },
  {
    name: 'error-in-fragments',
    documented: 'an ICMP error in fragments is dropped',
    reason: 'fragments are not put together, so the quote cannot be seen whole; an error has at most 576 bytes',
    happened: (step) => isInFragments(step) && isError(first(step)) && step.ours.length === 0 && step.kernel.length > 0,
  },
  {
    name: 'fragments-pass-singly',
    documented: 'fragments pass one by one',
    reason:
      'fragments are forwarded as they come, not held until the datagram is whole; its receiver gets none either way',
    happened: (step) =>
      isInFragments(step) && step.kernel.length === 0 && step.ours.length > 0 && reassembled(step.ours) === undefined,
  },
  {
    name: 'fragment-within-others',
    documented: 'whose bytes were all received before',
    reason: 'all of its bytes came before: dropped alone. The kernel does so too, but only where those came in order',
    happened: (step) =>
      isInFragments(step) &&
      step.kernel.length === 0 &&
      step.verdicts.filter((verdict) => verdict === 'fragment-duplicate').length === 1 &&
      step.ours.length === step.packets.length - 1 &&
      reassembled(step.ours) !== undefined,
  },
  {
    name: 'fragment-ranges',
    documented: 'more than 64 separate pieces',
    reason: 'more than 64 separate pieces of one datagram are not kept track of (CVE-2018-5391)',
    happened: (step) =>
      step.verdicts.includes('fragment-table-full') &&
      reassembled(step.ours) === undefined &&
      reassembled(step.kernel) !== undefined,
  },
  {
    name: 'port-zero',
    documented: 'TCP port 0',
    reason: 'TCP port 0 and UDP destination port 0 are reserved (RFC 6335 §6)',
    happened: (step) => refused(step, 'port-zero'),
  },
  {
    name: 'udp-source-port-zero',
    documented: 'a masqueraded UDP source port 0 is replaced',
    reason: 'a masqueraded datagram without a source port gets one, as its answers are told apart by it',
    happened(step) {
      const l4 = transportAt(first(step));
      const zero = !isInFragments(step) && first(step)[9] === UDP && viewOf(first(step)).getUint16(l4) === 0;
      return (
        zero &&
        isSound(step) &&
        equalBut(step, [
          [l4, l4 + 2],
          [l4 + 6, l4 + 8],
        ])
      );
    },
  },
  {
    name: 'route-options',
    documented: 'record-route and timestamp options',
    reason:
      'record route and timestamp options pass as they are, without the node’s address in them (RFC 7126 §4.5, §4.7)',
    happened: (step) => [7, 68].includes(first(step)[20] ?? 0) && optionsEqualBut(step),
  },
  {
    name: 'icmp-information-request',
    documented: 'ICMP information requests',
    reason: 'types 15 and 16 are deprecated (RFC 6918)',
    happened: (step) => refused(step, 'conntrack-invalid') && first(step)[transportAt(first(step))] === 15,
  },
  {
    name: 'mss',
    documented: 'the MSS of a SYN is lowered',
    reason: 'the MSS of a SYN is lowered to the pods’ MTU',
    happened(step) {
      const l4 = transportAt(first(step));
      const syn = first(step)[9] === TCP && ((first(step)[l4 + 13] ?? 0) & 2) !== 0;
      return (
        syn &&
        isSound(step) &&
        viewOf(step.ours[0]?.bytes as Uint8Array).getUint16(l4 + 22) === 1410 &&
        equalBut(step, [
          [l4 + 16, l4 + 18],
          [l4 + 22, l4 + 24],
        ])
      );
    },
  },
];
