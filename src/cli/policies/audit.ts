/** `dataplane policy audit`: the last connections that policies would have denied if they were not only audited. */
import { auditHead, readAudited } from '../../../native-free-dataplane/policies/audit-log.ts';
import { ruleText } from '../../../native-free-dataplane/policies/judge.ts';
import { readRule } from '../../../native-free-dataplane/policies/rules.ts';
import { AUDIT_SLOTS } from '../../../native-free-dataplane/policies/table.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import { monotonicMs } from '../../linux/clock.ts';
import type { Args } from '../args/args.ts';
import { needRoot } from '../errors.ts';
import { formatOf, note, print } from '../output/output.ts';
import { endsOf, livePolicies, type MappedPolicies, mapPolicies } from '../sources/policies.ts';
import { withClient } from '../with-client.ts';

interface AuditLine {
  readonly time: string;
  readonly node: string;
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number;
  readonly rule: string;
}

export async function showAudited(args: Args): Promise<void> {
  const json = formatOf(args.text('output'), ['json']) === 'json';
  needRoot('policy audit');
  const { pods } = await withClient(livePolicies);
  const endAt = endsOf(pods);
  const lines = mapPolicies()
    .flatMap((mapped) => linesOf(mapped, (ip) => endAt(ip).text))
    .sort((a, b) => (a.time < b.time ? -1 : 1));
  if (json) return print(JSON.stringify(lines, null, 2));
  if (lines.length === 0) return note('no audited policy would have denied anything');
  for (const { time, node, from, to, protocol, port, rule } of lines) {
    print(`${time} [${node}] ${from} -> ${to} ${protocol}${port === 0 ? '' : ` ${port}`} would be denied by ${rule}`);
  }
}

function linesOf({ node, table, close }: MappedPolicies, nameOf: (ip: string) => string): AuditLine[] {
  const head = auditHead(table);
  const nowMs = monotonicMs();
  const lines: AuditLine[] = [];
  for (let number = Math.max(0, head - AUDIT_SLOTS); number < head; number++) {
    const found = readAudited(table, number);
    if (found === undefined) continue;
    const rule = readRule(table, found.rule);
    lines.push({
      time: new Date(Date.now() - ((Math.trunc(nowMs) - found.timeMs) | 0)).toISOString(),
      node,
      from: nameOf(formatAddress(found.source)),
      to: nameOf(formatAddress(found.target)),
      protocol: protocolName(found.protocol).toUpperCase(),
      port: found.port,
      rule: rule === undefined ? 'a policy that is gone' : ruleText(rule),
    });
  }
  close();
  return lines;
}
