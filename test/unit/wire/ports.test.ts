import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as ports from '../../../native-free-dataplane/wire/ports.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';

test('both ports as one word, and each separately', () => {
  const view = memory();
  ports.writePorts(view, AT, (0x9000 << 16) | 80);
  assert.is(hex(view, 4), '90000050');
  untouchedAround(view, 4);
  assert.equal([ports.sourcePort(view, AT), ports.destinationPort(view, AT)], [0x9000, 80]);
  assert.is(ports.portsWord(view, AT), (0x9000 << 16) | 80);
});

test('TCP, UDP and SCTP have ports, others have not', () => {
  const having = [];
  for (let protocol = 0; protocol < 256; protocol++) if (ports.hasPorts(protocol)) having.push(protocol);
  assert.equal(having, [6, 17, 132]);
});

test.run();
