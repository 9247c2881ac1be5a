/** Capture filters: a text is compiled or refused with the position of its mistake, and a program ends on any frame. */
import { compileFilter } from '../../../../native-free-dataplane/filter/compile.ts';
import { FilterError } from '../../../../native-free-dataplane/filter/filter-error.ts';
import { isProgram } from '../../../../native-free-dataplane/filter/program.ts';
import { matches } from '../../../../native-free-dataplane/filter/run.ts';
import { viewOf } from '../../frames/frame-builder.ts';
import { seedFrames } from '../../fuzz-node.ts';
import { pick, type Random } from '../../seeded-random.ts';
import type { FuzzTarget } from '../target.ts';

const seeds = seedFrames();
const PIECES: readonly string[] = [
  ...[
    'host',
    'net',
    'port',
    'portrange',
    'src',
    'dst',
    'ether',
    'ip',
    'ip6',
    'arp',
    'tcp',
    'udp',
    'icmp',
    'vlan',
    'vxlan',
  ],
  ...[
    'and',
    'or',
    'not',
    '(',
    ')',
    '!',
    '&&',
    '||',
    'proto',
    'broadcast',
    'multicast',
    'less',
    'greater',
    'len',
    'inbound',
  ],
  ...['10.244.1.2', '10.244.0.0/16', 'fd00::2', '0a:58:0a:f4:01:02', '80', '1-1024', '0x800', 'mask', '255.255.0.0'],
  ...[
    'tcp[13]',
    'ip[0]',
    '& 0xf',
    '!= 5',
    '= 2',
    '> 1',
    '<< 2',
    '>> 1',
    '[',
    ']',
    ':',
    '+',
    '-',
    '*',
    '/',
    '%',
    '4294967296',
  ],
  ...[
    'tcp[tcpflags] & tcp-syn != 0',
    'ip[2:2] - ((ip[0] & 0xf) << 2) > 0',
    'vni 1',
    'ether[0] & 1 = 0',
    '',
    '\u0000',
    'é',
  ],
];

function text(random: Random): string {
  const pieces = Array.from({ length: random.below(12) }, () => pick(random, PIECES));
  return pieces.join(random.below(8) === 0 ? '' : ' ');
}

export const target: FuzzTarget = {
  name: 'filters',
  unit: 'filters',
  run(random: Random): number {
    const given = text(random);
    let program: Int32Array;
    try {
      program = compileFilter(given, { inside: random.below(2) === 0 });
    } catch (error) {
      if (error instanceof FilterError && error.message.length > 0 && !error.message.includes('\n')) return 1;
      throw new Error(`filter ${JSON.stringify(given)}: ${(error as Error).stack}`);
    }
    // A program that is too large is refused where it would be used.
    if (!isProgram(program)) return 1;
    for (let n = 0; n < 4; n++) {
      const frame = pick(random, seeds).bytes;
      const bytes = frame.slice(0, random.below(frame.length + 1));
      matches(program, viewOf(bytes), 0, bytes.length, bytes.length);
    }
    return 1;
  },
};
