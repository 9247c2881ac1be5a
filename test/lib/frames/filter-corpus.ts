/**
 * Frames and filter expressions for comparing filters with libpcap: frames of every kind that the expressions ask
 * about, also truncated ones, and expressions of the whole language in which the frames' own values appear.
 */
import { pick, type Random } from '../seeded-random.ts';
import { concat, fragments } from './frame-builder.ts';
import { frame } from './frame-text.ts';

const LINES = [
  'tcp 10.244.1.2:4000 > 10.96.0.10:80 S',
  'tcp 10.96.0.10:80 > 10.244.1.2:4000 SA',
  'tcp 10.244.1.2:4000 > 10.244.2.3:443 PA len 30',
  'tcp 172.18.0.1:40000 > 172.18.0.11:31418 F',
  'udp 10.244.1.2:53 > 10.244.2.3:5353 len 31',
  'udp 172.18.0.11:80 > 172.18.0.12:443 len 400',
  'icmp 10.244.1.2 > 10.244.1.1 echo-request id 7 seq 1 len 56',
  'icmp 10.244.1.1 > 10.244.1.2 unreachable port (udp 10.244.1.2:4000 > 10.96.0.10:99 len 5)',
  'arp who-has 10.244.1.1 tell 10.244.1.2',
  'arp 10.244.1.1 is-at 0a:58:0a:f4:01:01',
  'tcp [fd00::2]:4000 > [fd00::3]:80 S',
  'udp [fd00::2]:53 > [fd00::3]:443 len 31',
  'icmp6 fd00::2 > fd00::3 echo-request id 7 seq 1 len 8',
  'vxlan 172.18.0.11:49200 > 172.18.0.12:4789 vni 1 (tcp 10.244.1.2:4000 > 10.244.2.2:80 S)',
  'vxlan 172.18.0.12:49200 > 172.18.0.11:4789 vni 7 (udp 10.244.2.2:53 > 10.244.1.2:5353 len 31)',
];

/** A frame with a VLAN tag put in. */
function tagged(bytes: Uint8Array, type: number, id: number): Uint8Array {
  return concat(bytes.subarray(0, 12), Uint8Array.of(type >> 8, type & 0xff, id >> 8, id & 0xff), bytes.subarray(12));
}

/** A frame with four bytes of IPv4 options put in; its checksum is not repaired: filters do not look at it. */
function withOptions(bytes: Uint8Array): Uint8Array {
  const longer = concat(bytes.subarray(0, 34), Uint8Array.of(1, 1, 1, 1), bytes.subarray(34));
  longer[14] = 0x46;
  return longer;
}

export function filterCorpus(random: Random): Uint8Array[] {
  const whole = LINES.map((line) => frame(line));
  const ipv4 = whole.filter((bytes) => bytes[12] === 8 && bytes[13] === 0);
  const frames = [
    ...whole,
    ...whole.map((bytes, i) => tagged(bytes, i % 3 === 0 ? 0x88a8 : 0x8100, 3 + (i % 2))),
    ...whole.slice(0, 4).map((bytes) => tagged(tagged(bytes, 0x8100, 5), 0x88a8, 3)),
    ...ipv4.map(withOptions),
    ...fragments(frame('udp 10.244.1.2:53 > 10.244.2.3:5353 len 3000'), 1400),
    ...whole.map((bytes) => bytes.subarray(0, 14 + random.below(bytes.length - 14))),
  ];
  for (let i = 0; i < 60; i++) {
    const bytes = Uint8Array.from(pick(random, whole));
    for (let changes = 1 + random.below(3); changes > 0; changes--) {
      bytes[random.below(Math.min(60, bytes.length))] = random.word() & 0xff;
    }
    frames.push(bytes);
  }
  return frames;
}

const ADDRESSES = ['10.244.1.2', '10.96.0.10', '10.244.2.3', '172.18.0.11', '10.244.1.1', '172.18.0.12'];
const NETWORKS = ['10.244.0.0/16', '10', '10.244', '172.18.0', '0.0.0.0/0', '10.96.0.8/29', '10.244.1.2/32'];
const NETWORKS6 = ['fd00::/16', 'fd00::2/127', '::/0'];
const MASKS = ['10.244.0.0 mask 255.255.0.0', '10.0.0.10 mask 255.0.0.255'];
const MACS = ['0a:58:0a:f4:01:01', '0a:58:0a:f4:01:02', 'ff:ff:ff:ff:ff:ff', '0a-58-0a-f4-02-03'];
const PORTS = ['80', '443', '4000', '53', '5353', '31418', '4789', '0x50', 'domain'];
const RANGES = ['80-90', '90-80', '0-65535', '4000-5000', '53-80'];
const DIRECTIONS = ['', '', 'src ', 'dst ', 'src or dst ', 'src and dst ', 'dst or src '];
const ABBREVIATIONS =
  'tcp udp icmp arp rarp ip ip6 icmp6 sctp igmp esp ah pim|ether multicast|ip multicast|ip6 multicast|ether broadcast|multicast|broadcast'
    .replaceAll('|', ',')
    .split(',')
    .flatMap((words, i) => (i === 0 ? words.split(' ') : [words]));
const FLAGS = ['tcp-syn', 'tcp-ack', 'tcp-fin', 'tcp-rst', 'tcp-push', '(tcp-syn|tcp-fin)', '(tcp-syn|tcp-ack)'];
const COMPARE = ['=', '!=', '>', '<', '>=', '<=', '=='];

/** An index into a header and the protocol of that header: a sum has fields of one protocol only (see `arithmetic`). */
function arithmetic(random: Random, protocol: string, depth: number): string {
  const index = pick(random, ['0', '1', '2', '4', '6', '8', '9', '12', '13', '16', '20', '40', '70', 'len - 60']);
  const size = pick(random, ['', '', ':1', ':2', ':4']);
  const field = `${protocol}[${index}${size}]`;
  if (depth === 0 || random.below(3) === 0) return field;
  const right = pick(random, [
    String(1 + random.below(255)),
    `0x${random.below(65536).toString(16)}`,
    'len',
    `(${arithmetic(random, protocol, depth - 1)})`,
  ]);
  const op = pick(random, ['&', '|', '^', '+', '-', '*', '<<', '>>', '/', '%']);
  if (op === '<<' || op === '>>') return `(${field} ${op} ${random.below(8)})`;
  if (op === '/' || op === '%') return `(${field} ${op} ${1 + random.below(9)})`;
  return `(${field} ${op} ${right})`;
}

function comparison(random: Random): string {
  const protocol = pick(random, ['tcp', 'udp', 'icmp', 'ip', 'ip6', 'ether', 'arp', 'icmp6']);
  if (random.below(4) === 0) return `tcp[tcpflags] & ${pick(random, FLAGS)} ${pick(random, ['!=', '='])} 0`;
  if (random.below(6) === 0) return `icmp[icmptype] ${pick(random, COMPARE)} icmp-echo`;
  const right = pick(random, [
    '0',
    '6',
    '17',
    String(random.below(256)),
    'len',
    `0x${random.below(65536).toString(16)}`,
  ]);
  return `${arithmetic(random, protocol, 2)} ${pick(random, COMPARE)} ${right}`;
}

function identifiers(random: Random, list: readonly string[]): string {
  const one = pick(random, list);
  if (random.below(4) > 0) return one;
  const other = pick(random, list);
  return pick(random, [
    `(${one} or ${other})`,
    `${one} or ${other}`,
    `(${one} and not ${other})`,
    `${one} and ${other}`,
  ]);
}

function primitive(random: Random): string {
  const direction = pick(random, DIRECTIONS);
  switch (random.below(14)) {
    case 0:
      return `${pick(random, ['', 'ip ', 'arp ', 'rarp '])}${direction}host ${identifiers(random, ADDRESSES)}`;
    case 1:
      return `${direction}net ${pick(random, [...NETWORKS, ...MASKS])}`;
    case 2:
      return `${pick(random, ['', 'ip6 '])}${direction}net ${pick(random, NETWORKS6)}`;
    case 3:
      return `${pick(random, ['', 'ip6 '])}${direction}host ${identifiers(random, ['fd00::2', 'fd00::3', '::1'])}`;
    case 4:
    case 5:
      return `${pick(random, ['', 'tcp ', 'udp ', 'sctp '])}${direction}port ${identifiers(random, PORTS)}`;
    case 6:
      return `${pick(random, ['', 'tcp ', 'udp '])}${direction}portrange ${identifiers(random, RANGES)}`;
    case 7:
      return `ether ${direction}host ${identifiers(random, MACS)}`;
    case 8:
      return `${pick(random, ['', 'ip ', 'ip6 '])}proto ${pick(random, ['6', '17', '1', '\\tcp', '\\udp', '58'])}`;
    case 9:
      return `ether proto ${pick(random, ['0x800', '\\ip', '\\arp', '\\ip6', '0x88a8', '5'])}`;
    case 10:
      return `${pick(random, ['less', 'greater'])} ${random.below(120)}`;
    case 11:
      return comparison(random);
    case 12:
      return random.below(3) === 0 ? pick(random, ['vlan', 'vlan 3', 'vlan 4']) : comparison(random);
    default:
      return pick(random, ABBREVIATIONS);
  }
}

/** A random expression; each is in the language, but libpcap may find that it matches nothing at all. */
export function randomExpression(random: Random, depth = 3): string {
  if (depth === 0 || random.below(3) === 0) return primitive(random);
  const left = randomExpression(random, depth - 1);
  const right = randomExpression(random, depth - 1);
  switch (random.below(7)) {
    case 0:
      return `not ${primitive(random)} ${pick(random, ['and', '&&'])} ${right}`;
    case 1:
      return `not (${left})`;
    case 2:
      return `! (${left}) or (${right})`;
    case 3:
    case 4:
      return `(${left}) ${pick(random, ['and', 'or', '&&', '||'])} ${right}`;
    default:
      return `${left} ${pick(random, ['and', 'or'])} ${right}`;
  }
}
