/**
 * Filters select the same frames as libpcap does: random expressions over a file of frames, each also given to tcpdump.
 * FILTER_EXPRESSIONS=1000 is the long form, FILTER_SEED another sequence.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileFilter } from '../../../native-free-dataplane/filter/compile.ts';
import { FilterError } from '../../../native-free-dataplane/filter/filter-error.ts';
import { isProgram } from '../../../native-free-dataplane/filter/program.ts';
import { matches } from '../../../native-free-dataplane/filter/run.ts';
import { readCapture, writeCapture } from '../../lib/frames/capture-file.ts';
import { filterCorpus, randomExpression } from '../../lib/frames/filter-corpus.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { seededRandom } from '../../lib/seeded-random.ts';
import { testUnless } from '../../lib/test-unless.ts';

const EXPRESSIONS = Number(process.env.FILTER_EXPRESSIONS ?? 100);
const SEED = Number(process.env.FILTER_SEED ?? 1);

const corpus = filterCorpus(seededRandom(7));
const directory = mkdtempSync(join(tmpdir(), 'dataplane-filter-'));
const file = join(directory, 'corpus.pcap');
// The second in which a frame was captured is its number.
writeFileSync(file, writeCapture(corpus.map((bytes, i) => ({ bytes, seconds: i, nanoseconds: 0 }))));
test.after(() => rmSync(directory, { recursive: true, force: true }));

type Answer = number[] | { refused: string };

function ofTcpdump(expression: string): Answer {
  // Without its optimizer, which omits loads whose value does not matter: such a load rejects a truncated frame.
  const run = spawnSync('tcpdump', ['-O', '-r', file, '-w', '-', expression], { maxBuffer: 1 << 26 });
  const refused = /^tcpdump: (.*)$/m.exec(run.stderr.toString().replace(/^.*reading from.*$/m, ''))?.[1];
  if (refused !== undefined && run.status !== 0) return { refused };
  return readCapture(run.stdout).frames.map(({ seconds }) => seconds);
}

function ofOurs(expression: string): Answer {
  try {
    const program = compileFilter(expression);
    assert.ok(isProgram(program), expression);
    return corpus.flatMap((bytes, i) => (matches(program, viewOf(bytes), 0, bytes.length, bytes.length) ? [i] : []));
  } catch (error) {
    if (error instanceof FilterError) return { refused: error.message };
    throw error;
  }
}

const describe = (answer: Answer): string => (Array.isArray(answer) ? `frames ${answer}` : answer.refused);

const tcpdump = spawnSync('tcpdump', ['--version']).error === undefined;
const compared = testUnless(tcpdump ? undefined : 'tcpdump is not installed');

compared(`${EXPRESSIONS} random expressions select the frames that libpcap selects`, () => {
  const random = seededRandom(SEED);
  let selective = 0;
  for (let i = 0; i < EXPRESSIONS; i++) {
    const expression = randomExpression(random);
    const theirs = ofTcpdump(expression);
    const ours = ofOurs(expression);
    const refused = [theirs, ours].map((answer) => !Array.isArray(answer));
    if (refused.every(Boolean)) continue;
    assert.is(describe(ours), describe(theirs), `seed ${SEED}, expression ${i}: ${expression}`);
    if (Array.isArray(ours) && ours.length > 0 && ours.length < corpus.length) selective++;
  }
  assert.ok(selective > EXPRESSIONS / 3, `only ${selective} of ${EXPRESSIONS} expressions distinguish frames`);
});

compared('what libpcap refuses is refused', () => {
  const wrong = `tcp and 80|(port 80) or 443|10.0.0.1|tcp host 1.2.3.4|ip port 80|net 10.0.0.1/8|tcp[13:3]=1|vlan 5000
|port 70000|ip6 host 1.2.3.4|arp host ::1|net 10.1.2.3 mask 255.0.0.0|tcp proto 6|ip[0] << 33 = 0|icmp port 5
|ether proto ip|ip src proto 6|ether src 1.2.3.4|tcp or ()|net ::1/64|host 1.2.3.256|ether dst net 10|and tcp|tcp and
|((tcp)|tcp)|host|port|ip[0|ip[0]|ip[0] =|host 1.2.3.4/8|host 0a:58:0a:f4:01:01|portrange x-y|tcp tcp|not|08 = 1|5 / 0 = 1`;
  for (const expression of wrong.replaceAll('\n', '').split('|')) {
    assert.ok(!Array.isArray(ofTcpdump(expression)), `tcpdump accepts ${expression}`);
    assert.ok(!Array.isArray(ofOurs(expression)), `accepted: ${expression}`);
  }
});

test.run();
