/** The sequences of RFC 9293's figures, as seen by a tracker between the two ends. */
import { test } from 'uvu';
import { established, playScript } from '../lib/tcp-script.ts';

test('figure 6: the three-way handshake', () => {
  playScript(`
    > S 100:100(0) win 65535           -> SYN_SENT 120s
    < S. 300:300(0) ack 101 win 65535  -> SYN_RECV 60s
    > . 101:101(0) ack 301 win 65535   -> ESTABLISHED 86400s assured
    > . 101:201(100) ack 301 win 65535 -> ESTABLISHED
  `);
});

test('figure 7: simultaneous connection synchronisation', () => {
  playScript(`
    > S 100:100(0) win 65535           -> SYN_SENT
    < S 300:300(0) win 65535           -> SYN_SENT2 120s
    > S. 100:100(0) ack 301 win 65535  -> SYN_RECV
    < S. 300:300(0) ack 101 win 65535  -> ignored SYN_RECV
    > . 101:101(0) ack 301 win 65535   -> ESTABLISHED assured
  `);
});

test('figure 7, as real stacks do it: one side answers the SYN-ACK with an ACK', () => {
  playScript(`
    > S 100:100(0) win 65535           -> SYN_SENT
    < S 300:300(0) win 65535           -> SYN_SENT2
    > S. 100:100(0) ack 301 win 65535  -> SYN_RECV
    < . 301:301(0) ack 101 win 65535   -> ESTABLISHED assured
    > P. 101:111(10) ack 301 win 65535 -> ESTABLISHED
  `);
});

test('split handshake: the server acknowledges first and then sends its own SYN', () => {
  playScript(`
    > S 100:100(0) win 65535           -> SYN_SENT
    < . 300:300(0) ack 101 win 65535   -> ignored SYN_SENT
    < S 300:300(0) win 65535           -> SYN_SENT2
    > S. 100:100(0) ack 301 win 65535  -> SYN_RECV
    < . 301:301(0) ack 101 win 65535   -> ESTABLISHED
  `);
});

test('figure 8: recovery from an old duplicate SYN', () => {
  playScript(`
    // The old duplicate arrives first at the tracker, too.
    > S 90:90(0) win 65535             -> SYN_SENT
    < S. 300:300(0) ack 91 win 65535   -> SYN_RECV
    > R 91:91(0) win 0                 -> CLOSE
    > S 100:100(0) win 65535           -> reopened SYN_SENT
    < S. 400:400(0) ack 101 win 65535  -> SYN_RECV
    > . 101:101(0) ack 401 win 65535   -> ESTABLISHED
  `);
});

test('figure 9: half-open connection, the side that crashed reconnects', () => {
  playScript(`${established(65535, 0, 200)}
    > . 1:100(99) ack 201 win 65535
    < . 201:201(0) ack 100 win 65535   -> ESTABLISHED 86400s
    // The client crashes and reconnects with a SYN; the server replies from its old state.
    > S 400:400(0) win 65535           -> ignored ESTABLISHED
    < . 201:201(0) ack 100 win 65535   -> ESTABLISHED
    > R 100:100(0) win 0               -> CLOSE
    > S 400:400(0) win 65535           -> reopened SYN_SENT
  `);
});

test('figure 10: the active side causes the discovery of a half-open connection', () => {
  playScript(`${established(65535, 0, 200)}
    < P. 201:211(10) ack 1 win 65535   -> ESTABLISHED
    // The client no longer knows the connection: it sends a reset at the acknowledged number.
    > R 1:1(0) win 0                   -> CLOSE 10s
  `);
});

test('figure 12: normal close', () => {
  playScript(`${established(65535, 99, 299)}
    > F. 100:100(0) ack 300 win 65535  -> FIN_WAIT 120s
    < . 300:300(0) ack 101 win 65535   -> CLOSE_WAIT 3600s
    < F. 300:300(0) ack 101 win 65535  -> LAST_ACK 30s
    > . 101:101(0) ack 301 win 65535   -> TIME_WAIT 120s
    wait 120s
    > . 101:101(0) ack 301 win 65535   -> ESTABLISHED 300s
  `);
});

test('figure 13: simultaneous close', () => {
  playScript(`${established(65535, 99, 299)}
    > F. 100:100(0) ack 300 win 65535  -> FIN_WAIT
    < F. 300:300(0) ack 100 win 65535  -> LAST_ACK
    > . 101:101(0) ack 301 win 65535   -> TIME_WAIT
    < . 301:301(0) ack 101 win 65535   -> TIME_WAIT
  `);
});

test('a half-closed connection continues in the other direction (RFC 9293 §3.6)', () => {
  playScript(`${established(65535, 99, 299)}
    > F. 100:100(0) ack 300 win 65535     -> FIN_WAIT
    < . 300:300(0) ack 101 win 65535      -> CLOSE_WAIT 3600s
    < P. 300:1300(1000) ack 101 win 65535 -> CLOSE_WAIT 300s
    > . 101:101(0) ack 1300 win 65535     -> CLOSE_WAIT 3600s
  `);
});

test('RFC 1122 §4.2.2.13: a connection in TIME_WAIT may be reopened from either side', () => {
  const closed = `${established(65535, 99, 299)}
    > F. 100:100(0) ack 300 win 65535
    < F. 300:300(0) ack 101 win 65535
    > . 101:101(0) ack 301 win 65535      -> TIME_WAIT`;
  playScript(`${closed}
    > S 5000:5000(0) win 65535            -> reopened SYN_SENT 120s`);
  playScript(`${closed}
    < S 5000:5000(0) win 65535            -> reopened SYN_SENT 120s`);
});

test('a retransmitted SYN passes but does not refresh the record', () => {
  playScript(`
    > S 99:99(0) win 65535                -> SYN_SENT 120s
    wait 60s
    > S 99:99(0) win 65535                -> ignored SYN_SENT 60s
    wait 59s
    > S 99:99(0) win 65535                -> ignored SYN_SENT 1s
    wait 1s
    > S 99:99(0) win 65535                -> SYN_SENT 120s
  `);
});

test('RFC 7413: data in the SYN is acknowledged with it', () => {
  playScript(`
    > S 0:500(500) win 65535              -> SYN_SENT
    < S. 0:0(0) ack 501 win 65535         -> SYN_RECV
    > . 501:501(0) ack 1 win 65535        -> ESTABLISHED
  `);
  playScript(`
    > S 0:500(500) win 65535
    < S. 0:0(0) ack 1 win 65535           -> SYN_RECV
    > . 1:501(500) ack 1 win 65535        -> ESTABLISHED
  `);
});

test('RFC 7323 §2.2: windows are scaled only if both sides offered scaling', () => {
  const open = (reply: string) => `
    > S 0:0(0) win 1000 <wscale 7>
    < S. 0:0(0) ack 1 win 1000 ${reply}
    > . 1:1(0) ack 1 win 1000`;
  playScript(`${open('<wscale 7>')}
    < . 100001:101461(1460) ack 1 win 1000  -> ESTABLISHED`);
  playScript(`${open('')}
    < . 100001:101461(1460) ack 1 win 1000  -> invalid ESTABLISHED`);
});

test('RFC 2018: a selective acknowledgement may not exceed the data sent', () => {
  playScript(`
    > S 0:0(0) win 65535 <sackOK>
    < S. 0:0(0) ack 1 win 65535 <sackOK>
    > . 1:1(0) ack 1 win 65535
    > . 1:1001(1000) ack 1 win 65535
    > . 1001:2001(1000) ack 1 win 65535
    < . 1:1(0) ack 1 win 65535 <sack 1001:2001>  -> ESTABLISHED
    < . 1:1(0) ack 1 win 65535 <sack 1001:2002>  -> invalid ESTABLISHED
  `);
});

test('a keep-alive probe one below the next sequence number, and its reply (RFC 9293 §3.8.4)', () => {
  playScript(`${established(65535)}
    > . 0:0(0) ack 1 win 65535            -> ESTABLISHED 86400s
    < . 1:1(0) ack 1 win 65535            -> ESTABLISHED 86400s
    > . 0:1(1) ack 1 win 65535            -> ESTABLISHED 86400s
  `);
});

test('a super-packet of 64 KiB is one segment', () => {
  playScript(`
    > S 0:0(0) win 65535 <wscale 7>
    < S. 0:0(0) ack 1 win 65535 <wscale 7>
    > . 1:1(0) ack 1 win 1024
    < . 1:65484(65483) ack 1 win 1024     -> ESTABLISHED
    > . 1:1(0) ack 65484 win 1024         -> ESTABLISHED 86400s
  `);
});

test.run();
