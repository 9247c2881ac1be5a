import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as icmpv6 from '../../../native-free-dataplane/wire/icmpv6.ts';

test('errors have types below 128 (RFC 4443 §2.1)', () => {
  assert.ok(icmpv6.isIcmpv6Error(127) && !icmpv6.isIcmpv6Error(128));
});

test('the MTU of "packet too big" is a whole word; a neighbour target is four', () => {
  const view = new DataView(new ArrayBuffer(24));
  view.setUint32(4, 70_000);
  assert.is(icmpv6.icmpv6Mtu(view, 0), 70_000);
  for (let i = 0; i < 4; i++) view.setInt32(8 + 4 * i, -i);
  assert.equal(
    [0, 1, 2, 3].map((i) => icmpv6.ndTargetWord(view, 0, i)),
    [0, -1, -2, -3],
  );
});

test.run();
