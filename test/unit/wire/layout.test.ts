/** Where the fields of a frame lie: every byte belongs to one field, whatever the bytes are. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { frameLayout } from '../../../native-free-dataplane/wire/layout.ts';
import { frame } from '../../lib/frames/frame-text.ts';

const test = suite('layout of frames');

/** The fields follow each other from the first byte to the last. */
function assertWhole(bytes: Uint8Array): void {
  let at = 0;
  for (const header of frameLayout(bytes)) {
    assert.is(header.at, at);
    for (const field of header.fields) {
      assert.is(field.at, at, `${header.name} ${field.name}`);
      at += field.bytes;
    }
    assert.is(header.at + header.bytes, at, header.name);
  }
  assert.is(at, bytes.length);
}

const names = (bytes: Uint8Array): string[] =>
  frameLayout(bytes).map(({ name, outer }) => (outer ? `outer ${name}` : name));

function valueIn(bytes: Uint8Array, header: string, field: string): string | undefined {
  return frameLayout(bytes)
    .find(({ name, outer }) => name === header && !outer)
    ?.fields.find(({ name }) => name === field)?.value;
}

test('the headers of each kind of packet', () => {
  assert.equal(names(frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 S')), ['ethernet', 'ipv4', 'tcp']);
  assert.equal(names(frame('udp 10.244.1.2:4000 > 10.96.0.10:53 len 5')), ['ethernet', 'ipv4', 'udp', 'payload']);
  assert.equal(names(frame('icmp 10.244.1.2 > 10.244.2.2 echo-request id 7 seq 1')), ['ethernet', 'ipv4', 'icmp']);
  assert.equal(names(frame('vxlan 172.18.0.12 > 172.18.0.11 vni 1 (tcp 10.244.2.2:1 > 10.244.1.2:80 S)')), [
    'outer ethernet',
    'outer ipv4',
    'outer udp',
    'outer vxlan',
    'ethernet',
    'ipv4',
    'tcp',
  ]);
});

test('values are those of the packet', () => {
  const bytes = frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 SA');
  assert.is(valueIn(bytes, 'ethernet', 'type'), 'ipv4');
  assert.is(valueIn(bytes, 'ipv4', 'source'), '10.244.1.2');
  assert.is(valueIn(bytes, 'ipv4', 'protocol'), 'tcp');
  assert.is(valueIn(bytes, 'tcp', 'destination port'), '80');
  assert.is(valueIn(bytes, 'tcp', 'flags'), 'SA');
});

test('options belong to their header', () => {
  const bytes = frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 S <mss 1410>');
  const tcp = frameLayout(bytes).find(({ name }) => name === 'tcp');
  assert.equal([tcp?.bytes, tcp?.fields.at(-1)?.name, tcp?.fields.at(-1)?.bytes], [24, 'options', 4]);
});

test('every byte belongs to one field: of a frame cut anywhere, and with any byte changed', () => {
  const whole = frame('vxlan 172.18.0.12 > 172.18.0.11 vni 1 (tcp 10.244.2.2:1 > 10.244.1.2:80 S <mss 1410>)');
  for (let length = 0; length <= whole.length; length++) assertWhole(whole.slice(0, length));
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 1, 4, 6, 17, 0x0f, 0x40, 0x46, 0xf0, 0xff]) {
      const changed = whole.slice();
      changed[at] = value;
      assertWhole(changed);
    }
  }
});

test.run();
