import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as arp from '../../../native-free-dataplane/wire/arp.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';

/** Who has 10.244.1.1? 10.244.1.2 at 0a:58:0a:f4:01:02 asks. */
function request(): DataView {
  const view = memory();
  arp.emitArp(view, AT, arp.ARP_REQUEST);
  arp.writeArpSender(view, AT, 0x0a58, 0x0af40102, 0x0af40102);
  arp.writeArpTarget(view, AT, 0, 0, 0x0af40101);
  return view;
}

test('a request is written to the byte and read back', () => {
  const view = request();
  assert.is(hex(view, 28), '00010800060400010a580af401020af401020000000000000af40101');
  untouchedAround(view, 28);
  assert.ok(arp.isEthernetArp(view, AT));
  assert.is(arp.arpOperation(view, AT), arp.ARP_REQUEST);
  assert.equal([arp.arpSenderMacHigh(view, AT), arp.arpSenderMacLow(view, AT)], [0x0a58, 0x0af40102]);
  assert.equal([arp.arpSenderIp(view, AT), arp.arpTargetIp(view, AT)], [0x0af40102, 0x0af40101]);
});

test('a request is turned into its reply in place', () => {
  const view = request();
  arp.answerArpInPlace(view, AT, 0x0a58, 0x0af40101);
  assert.is(hex(view, 28), '00010800060400020a580af401010af401010a580af401020af40102');
  untouchedAround(view, 28);
  assert.is(arp.arpOperation(view, AT), arp.ARP_REPLY);
});

test('other hardware, protocols and address sizes are rejected', () => {
  for (const at of [0, 1, 2, 3, 4, 5]) {
    const view = request();
    view.setUint8(AT + at, view.getUint8(AT + at) ^ 8);
    assert.not(arp.isEthernetArp(view, AT), `byte ${at}`);
  }
});

test.run();
