/** Reading queries whose names are not text. */
import { encode } from 'dns-packet';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Rcode, readQuery } from '../../../src/dns/message.ts';

/** A query for a name of one label and `local`, whose label is then replaced by bytes of the same number. */
function query(label: readonly number[]): Buffer {
  const name = `${'x'.repeat(label.length)}.local`;
  const bytes = Buffer.from(encode({ type: 'query', id: 7, questions: [{ name, type: 'A' }] }));
  bytes.set(label, 13);
  return bytes;
}

test('a label with a dot, or with bytes that are not UTF-8, is refused: the response could not repeat it', () => {
  for (const label of [[0x61, 0x2e, 0x62], [0xff, 0xfe], new Array<number>(63).fill(0x80)]) {
    assert.equal(readQuery(query(label)), { id: 7, rcode: Rcode.REFUSED });
  }
});

test('spaces and UTF-8 are read as they are (RFC 6763 §4.1.1)', () => {
  for (const text of ['a printer', 'büro']) {
    const read = readQuery(query([...Buffer.from(text)]));
    assert.equal(read && 'labels' in read && read.labels, [text, 'local']);
  }
});

test.run();
