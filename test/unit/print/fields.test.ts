/** The fields of a frame, and what differs between two. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { changedFields, frameFields } from '../../../native-free-dataplane/print/fields.ts';
import { frame } from '../../lib/frames/frame-text.ts';

const fieldsOf = (text: string) => {
  const bytes = frame(text);
  return frameFields(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length);
};

test('a segment has addresses with ports, time to live, checksums and MSS', () => {
  const fields = fieldsOf('tcp 10.244.1.2:4000 > 10.96.0.10:80 S seq 1 <mss 1410>');
  assert.is(fields.headers, 'ethernet ipv4 tcp');
  assert.equal([fields.src, fields.dst, fields.TTL, fields.MSS], ['10.244.1.2:4000', '10.96.0.10:80', '64', '1410']);
  assert.match(fields['TCP checksum'] ?? '', /^0x[0-9a-f]{4}$/);
});

test('fields of a tunnel are called outer, those of the packet inside have their plain names', () => {
  const inner = 'udp 10.244.1.2:5353 > 10.244.2.2:53 len 31';
  const tunnel = fieldsOf(`vxlan 172.18.0.11 > 172.18.0.12 vni 1 (${inner})`);
  assert.is(tunnel.headers, 'ethernet ipv4 udp vxlan ethernet ipv4 udp');
  assert.match(tunnel['outer dst'] ?? '', /^172\.18\.0\.12:4789$/);
  assert.is(tunnel.VNI, '1');
  assert.is(tunnel.dst, '10.244.2.2:53');
  const changed = changedFields(tunnel, fieldsOf(inner));
  assert.is(changed?.before.VNI, '1');
  assert.is(changed?.after.VNI, undefined);
  assert.not('dst' in (changed?.after ?? {}));
});

test('a truncated frame has fewer fields, and equal frames have no difference', () => {
  const bytes = frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 S');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let end = 0; end <= bytes.length; end++) assert.type(frameFields(view, 0, end).headers, 'string');
  assert.equal(frameFields(view, 0, 10), { headers: '' });
  assert.is(changedFields(frameFields(view, 0, bytes.length), frameFields(view, 0, bytes.length)), undefined);
});

test.run();
