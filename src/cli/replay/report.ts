/** What `dataplane replay` prints. */
import type { ConnectionDifference, PrintedOutcome, ReplayReport } from '../../observe/replay/compare.ts';
import type { Reason } from '../../observe/replay/reasons.ts';

/** Why connections differ. */
export interface Reasons {
  readonly of: (connection: ConnectionDifference) => Reason | undefined;
  /** Such as `pod default/web`, or the address. */
  readonly nameOf: (ip: string) => string;
}

export function reportJson(report: ReplayReport, reasons: Reasons | undefined): string {
  const connections = report.connections.map((one) => ({ ...one, reason: reasons?.of(one) }));
  return JSON.stringify({ ...report, connections }, null, 2);
}

/** @param against what it was compared with; undefined: what was recorded */
export function reportText(report: ReplayReport, against: string | undefined, reasons: Reasons | undefined): string {
  const { packets, verdicts, framesSent, digest, compared, different } = report;
  const counts = Object.entries(verdicts).sort((a, b) => b[1] - a[1]);
  const lines = [
    `${packets} packets, ${framesSent} frames sent: ${counts.map(([name, count]) => `${name} ${count}`).join(', ')}`,
    `sha256 ${digest}`,
  ];
  const name = reasons === undefined ? (against ?? 'what was recorded') : `with ${against}`;
  if (compared === 0) lines.push('nothing to compare with: the capture does not contain what the node did');
  else if (reasons === undefined) lines.push(`${compared - different} of ${compared} are the same as ${name}`);
  else lines.push(`${compared - different} of ${compared} are the same ${name}`);
  lines.push(...(reasons === undefined ? packetLines(report, name) : connectionLines(report, name, reasons)));
  return lines.join('\n');
}

function packetLines({ different, differences, differentConnections }: ReplayReport, against: string): string[] {
  const lines = differences.flatMap(({ number, node, packet, expected, actual }) => [
    `packet ${number} at ${node}: ${packet}`,
    ...outcomeLines(against, expected),
    ...outcomeLines('replayed', actual),
  ]);
  if (different > differences.length) {
    lines.push(`and ${different - differences.length} more, ${differentConnections} connections in all`);
  }
  return lines;
}

function connectionLines(
  { connections, differentConnections }: ReplayReport,
  name: string,
  reasons: Reasons,
): string[] {
  const lines = connections.flatMap((one) => {
    const { node, connection, ends, packets, number, packet, expected, actual } = one;
    const [from, to] = [reasons.nameOf(ends.src), reasons.nameOf(ends.dst)];
    const named = from === ends.src && to === ends.dst ? '' : ` (${from} to ${to})`;
    const reason = reasons.of(one);
    return [
      `${node} ${connection}${named}: ${packets === 1 ? '1 packet differs' : `${packets} packets differ`}`,
      `  packet ${number}: ${packet}`,
      ...outcomeLines('without', actual),
      ...outcomeLines(name, expected),
      ...(reason === undefined ? [] : [`  because: ${reason.text.join('; ')} (${reason.stage}, ${reason.source})`]),
    ];
  });
  if (differentConnections > connections.length) {
    lines.push(`and ${differentConnections - connections.length} more connections`);
  }
  return lines;
}

const outcomeLines = (name: string, { verdict, sent }: PrintedOutcome): string[] => [
  `  ${name}: ${verdict}`,
  ...sent.map(({ port, packet }) => `    port ${port}: ${packet}`),
];
