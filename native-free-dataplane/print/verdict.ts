/** Verdicts as text: one line each, and docs/drops.md. The texts are in verdicts.ts. */
import { ReplyKind, VERDICTS, type VerdictClass, type VerdictRow, verdictName } from '../verdicts.ts';
import { icmpErrorCode, icmpErrorType } from '../wire/icmp-error.ts';
import { icmpName } from './icmp-names.ts';

/** `name: sentence`, or `verdict-N` for a number that is not used. */
export function printVerdict(verdict: number): string {
  const row = VERDICTS[verdict];
  return row === undefined ? verdictName(verdict) : `${row.name}: ${row.sentence}`;
}

/** The same with class and source: `dropped  ipv4-checksum: … (RFC 1812 §5.2.2)`. */
export function printVerdictFully(verdict: number): string {
  const row = VERDICTS[verdict];
  return row === undefined ? verdictName(verdict) : `${row.class}  ${row.name}: ${row.sentence} (${row.source})`;
}

/** The reply to the sender of an answered packet: `TCP reset`, `ICMP unreachable port (3/3)`. */
function printReply({ reply }: VerdictRow): string {
  const [type, code] = reply === undefined ? [0, 0] : [icmpErrorType(reply.error), icmpErrorCode(reply.error)];
  const error = `ICMP ${icmpName(type, code)} (${type}/${code})`;
  switch (reply?.kind ?? ReplyKind.NONE) {
    case ReplyKind.ARP_REPLY:
      return 'ARP reply';
    case ReplyKind.ECHO_REPLY:
      return 'ICMP echo reply';
    case ReplyKind.TCP_RESET:
      return 'TCP reset';
    case ReplyKind.ICMP_ERROR:
      return error;
    case ReplyKind.AS_CLOSED_PORT:
      return `TCP reset, or ${error} for other protocols, from the destination`;
    default:
      return 'nothing';
  }
}

const CHAPTERS: readonly [VerdictClass, title: string, text: string][] = [
  ['dropped', 'Dropped', 'The packet ends here and its sender gets no reply.'],
  [
    'answered',
    'Answered',
    'The packet ends here and its sender gets a reply. If policy forbids the reply (RFC 1812 §4.3.2.7), the packet is counted under "counter without reply" instead.',
  ],
  [
    'lost',
    'Lost at a device',
    'Counted in addition to the verdict of the packet: the pipeline sent it, but the device did not accept it.',
  ],
  [
    'held',
    'Held',
    'A copy of the packet waits for another packet. It is counted only when it is released or given up.',
  ],
  ['noted', 'Noted', 'The packet is a copy of one that takes another way. It ends here.'],
  ['forwarded', 'Forwarded', 'The packet goes to a pod or to another node.'],
  ['delivered', 'Delivered', "The packet goes to this node's kernel."],
];

/** docs/drops.md: every verdict with its meaning, its source and advice. */
export function verdictsAsMarkdown(): string {
  const lines = [
    '# What happens to a packet',
    '',
    'Every frame that a node receives ends in exactly one verdict, and each verdict has a counter.',
    '`dataplane status` lists those of packets that did not arrive: dropped, lost, or refused with a reset or an ICMP error',
    '(per worker with `-o json`). `npm run docs` generates this page from the rows of',
    '[`verdicts.ts`](../native-free-dataplane/verdicts.ts); tests check that both agree and that each reply is really sent.',
  ];
  for (const [chapter, title, text] of CHAPTERS) {
    const answered = chapter === 'answered';
    lines.push(
      '',
      `## ${title}`,
      '',
      text,
      '',
      `| counter | what happened |${answered ? ' reply | counter without reply |' : ''} because of | what to do |`,
      `| --- | --- |${answered ? ' --- | --- |' : ''} --- | --- |`,
    );
    const rows = VERDICTS.flatMap((row) => {
      if (row?.class !== chapter) return [];
      const unanswered = row.unanswered === undefined ? '' : `\`${row.unanswered}\``;
      const reply = answered ? ` ${printReply(row)} | ${unanswered} |` : '';
      return [`| \`${row.name}\` | ${row.sentence} |${reply} ${row.source} | ${row.advice} |`];
    });
    lines.push(...rows.sort());
  }
  return `${lines.join('\n')}\n`;
}
