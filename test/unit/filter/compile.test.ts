/** Filters: mistakes and their positions, VXLAN, and the limits of a program. What they select: libpcap.test.ts. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileFilter } from '../../../native-free-dataplane/filter/compile.ts';
import { FilterError } from '../../../native-free-dataplane/filter/filter-error.ts';
import {
  INSTRUCTION_WORDS,
  isProgram,
  MAX_INSTRUCTIONS,
  Op,
  Word,
} from '../../../native-free-dataplane/filter/program.ts';
import { matches } from '../../../native-free-dataplane/filter/run.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { frame } from '../../lib/frames/frame-text.ts';

function selects(expression: string, bytes: Uint8Array, vxlanPort?: number): boolean {
  const program = compileFilter(expression, vxlanPort === undefined ? {} : { vxlanPort });
  assert.ok(isProgram(program), expression);
  return matches(program, viewOf(bytes), 0, bytes.length, bytes.length);
}

const SYN = frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 S');

test('an empty filter matches every frame', () => {
  assert.ok(selects('', SYN));
  assert.ok(selects('  ', new Uint8Array(0)));
});

test('a mistake is reported in one line with its column', () => {
  for (const [expression, message] of [
    ['tcp prot 80', 'column 5: expected "and", "or" or the end of the filter, found "prot"'],
    ['tcp port', 'column 9: expected a port, found the end of the filter'],
    ['host web', 'column 6: "web": expected an address, names are not looked up'],
    ['net 10.0.0.1/8', 'column 5: "10.0.0.1" has bits outside the network'],
    ['tcp and 80', 'column 9: "80" needs a qualifier such as host or port in front of it'],
    ['udp and (tcp or', 'column 16: expected a primitive such as host, port or tcp, found the end of the filter'],
    ['tcp[13', 'column 7: expected "]", found the end of the filter'],
    ['tcp[13] & 2', 'column 12: expected a comparison, found the end of the filter'],
    ['ip[0:3] = 1', 'column 6: expected a size of 1, 2 or 4 bytes, found "3"'],
    ['port 70000', 'column 6: port 70000 is above 65535'],
    ['mpls', 'column 1: "mpls" is not supported here'],
    ['tcp # x', 'column 5: unexpected character "#"'],
    ['host 0x1ffffffff', 'column 6: "0x1ffffffff" does not fit into 32 bits'],
  ] as const) {
    try {
      compileFilter(expression);
      assert.unreachable(expression);
    } catch (error) {
      assert.instance(error, FilterError, expression);
      assert.is((error as Error).message, message);
    }
  }
});

test('vxlan: the rest of the expression applies to the inner frame', () => {
  const inside = frame('vxlan 172.18.0.11:49200 > 172.18.0.12:4789 vni 1 (tcp 10.244.1.2:4000 > 10.244.2.2:80 S)');
  assert.not.ok(selects('tcp port 80', inside));
  assert.ok(selects('vxlan and tcp port 80', inside));
  assert.ok(selects('host 172.18.0.11 and vxlan 1 and host 10.244.2.2 and tcp[tcpflags] = tcp-syn', inside));
  assert.not.ok(selects('vxlan 2 and tcp port 80', inside));
  assert.not.ok(selects('vxlan and tcp port 80', SYN));
  assert.not.ok(selects('vxlan and tcp port 80', inside, 8472));
});

test('the length of a truncated frame is that on the wire', () => {
  const program = compileFilter('greater 1000');
  assert.ok(matches(program, viewOf(SYN), 0, SYN.length, 1514));
  assert.not.ok(matches(program, viewOf(SYN), 0, SYN.length, SYN.length));
});

test('nothing outside the frame is read, wherever it lies in memory', () => {
  const memory = new Uint8Array(200);
  memory.set(SYN, 100);
  const program = compileFilter('tcp dst port 80');
  assert.ok(matches(program, viewOf(memory), 100, 100 + SYN.length, SYN.length));
  for (let end = 100; end < 138; end++) assert.not.ok(matches(program, viewOf(memory), 100, end, SYN.length), `${end}`);
  assert.not.ok(matches(compileFilter('not tcp dst port 80'), viewOf(memory), 100, 136, SYN.length));
});

test('the size of a filter, its nesting and its arithmetic are limited', () => {
  const many = Array.from({ length: 200 }, (_, i) => `host 10.0.0.${i}`).join(' or ');
  assert.throws(() => compileFilter(many), /too long: it needs more than 1024 instructions/);
  assert.throws(() => compileFilter(`${'('.repeat(100)}tcp${')'.repeat(100)}`), /too many nested parentheses/);
  const deep = `${'1 + ('.repeat(20)}1${')'.repeat(20)} = 1`;
  assert.throws(() => compileFilter(deep), /nested too deeply/);
  assert.throws(() => compileFilter('tcp '.repeat(5000)), /longer than 8192/);
});

test('a worker refuses a program that might not end', () => {
  const good = compileFilter('tcp port 80');
  assert.ok(isProgram(good));
  const changed = (at: number, value: number): Int32Array => good.map((word, i) => (i === at ? value : word));
  assert.not.ok(isProgram(changed(Word.TRUE, 0)), 'a jump to itself');
  assert.not.ok(isProgram(changed(Word.FALSE, good.length / INSTRUCTION_WORDS)), 'a jump behind the end');
  assert.not.ok(isProgram(changed(good.length - INSTRUCTION_WORDS, Op.PUSH)), 'no end');
  assert.not.ok(isProgram(changed(0, 99)), 'an unknown operation');
  assert.not.ok(isProgram(good.subarray(1)), 'not whole instructions');
  assert.not.ok(isProgram(new Int32Array(0)));
  assert.not.ok(isProgram(new Int32Array((MAX_INSTRUCTIONS + 1) * INSTRUCTION_WORDS)), 'too long');
});

test.run();
