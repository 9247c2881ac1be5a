/**
 * The cases of netfilter's own tests (linux tools/testing/selftests/net/netfilter/packetdrill), packet by packet: each
 * is a bug that real stacks once hit.
 */
import { test } from 'uvu';
import { established, playScript } from '../lib/tcp-script.ts';

test('conntrack_ack_loss_stall: old, acknowledged data passes, so that it is acknowledged again', () => {
  const lines = [
    '> S 0:0(0) win 32792             -> SYN_SENT',
    '< S. 0:0(0) ack 1 win 65535      -> SYN_RECV',
    '> . 1:1(0) ack 1 win 65535       -> ESTABLISHED assured',
  ];
  let next = 1;
  for (let i = 0; i < 46; i++) {
    lines.push(`> P. ${next}:${next + 1460}(1460) ack 1 win 257   -> ESTABLISHED`);
    next += 1460;
    lines.push(`< . 1:1(0) ack ${next} win 65535                  -> ESTABLISHED 86400s`);
  }
  // All acknowledgements were lost after us: the first segment comes again, more than a window below the newest.
  lines.push('> P. 1:1461(1460) ack 1 win 257   -> ignored ESTABLISHED');
  lines.push(`< . 1:1(0) ack ${next} win 65535  -> ESTABLISHED`);
  playScript(lines.join('\n'));
});

test('conntrack_inexact_rst: in a closing connection, a reset need not be exact', () => {
  playScript(`
    > S 0:0(0) win 65535 <sackOK,wscale 8>     -> SYN_SENT 120s
    < S. 1:1(0) ack 1 win 65535                -> SYN_RECV 60s
    > . 1:1(0) ack 2 win 65535                 -> ESTABLISHED
    < . 2:1002(1000) ack 1 win 65535           -> ESTABLISHED 300s
    > . 1:1(0) ack 1002 win 65535              -> ESTABLISHED 86400s
    > P. 1:1001(1000) ack 1002 win 65535
    < F. 1002:1002(0) ack 1001 win 65535       -> FIN_WAIT 120s
    > . 1001:1001(0) ack 1003 win 65535        -> CLOSE_WAIT 3600s
    > R. 1001:1001(0) ack 1003 win 65535       -> CLOSE 10s
    // The other end has lost its state and replies with an unexpected number.
    < R 602:602(0) win 0                       -> CLOSE 10s
  `);
});

test('conntrack_rst_invalid: resets below the acknowledged data are invalid, in-window ones pass without effect, an exact one ends the connection', () => {
  playScript(`
    > S 0:0(0) win 65535 <sackOK,wscale 8>
    < S. 1:1(0) ack 1 win 65535
    > . 1:1(0) ack 2 win 65535                 -> ESTABLISHED
    < . 2:1002(1000) ack 1 win 65535
    < . 1002:2002(1000) ack 1 win 65535
    < . 2002:3002(1000) ack 1 win 65535
    > . 1:1(0) ack 1002 win 65535
    > . 1:1(0) ack 2002 win 65535
    > . 1:1(0) ack 3002 win 65535              -> ESTABLISHED 86400s
    < R 0:0(0) win 0                           -> invalid ESTABLISHED
    < R 1000000:1000000(0) win 0               -> invalid ESTABLISHED
    < R 42:42(0) win 0                         -> invalid ESTABLISHED
    > P. 1:1001(1000) ack 3002 win 65535       -> ESTABLISHED
    < . 3002:3002(0) ack 1001 win 65535        -> ESTABLISHED 86400s
    < R. 3001:3001(0) ack 1001 win 0           -> invalid ESTABLISHED 86400s
    < R. 3002:3002(0) ack 1001 win 0           -> CLOSE 10s
  `);
});

test('conntrack_syn_challenge_ack: a server with old state answers a SYN with a challenge ACK, the client resets and retries', () => {
  playScript(`
    > S 0:0(0) win 65535 <sackOK,wscale 8>                         -> SYN_SENT 120s
    wait 10s
    < . 145824453:145824453(0) ack 643160523 win 240               -> ignored SYN_SENT 110s
    > R 643160523:643160523(0) win 0                               -> CLOSE 10s
    > S 0:0(0) win 65535 <sackOK,wscale 8>                         -> reopened SYN_SENT 120s
    < S. 0:0(0) ack 1 win 250 <wscale 0>                           -> SYN_RECV
    > . 1:1(0) ack 1 win 256                                       -> ESTABLISHED assured
  `);
});

test('conntrack_synack_old: a SYN-ACK of an earlier connection is invalid and does not affect the right one', () => {
  playScript(`
    > S 0:0(0) win 65535 <sackOK,wscale 8>                         -> SYN_SENT
    < S. 145824453:145824453(0) ack 643160523 win 240 <wscale 0>   -> invalid SYN_SENT
    wait 1s
    > S 0:0(0) win 65535 <sackOK,wscale 8>                         -> ignored SYN_SENT 119s
    < S. 145758918:145758918(0) ack 1 win 250 <wscale 0>           -> SYN_RECV
    > . 1:1(0) ack 145758919 win 256                               -> ESTABLISHED assured
    > P. 1:2(1) ack 145758919 win 256                              -> ESTABLISHED
  `);
});

test('conntrack_synack_reuse: a SYN into an established connection passes, its challenge ACK too, and the reset ends it', () => {
  playScript(`
    > S 0:0(0) win 32792 <wscale 7>
    < S. 0:0(0) ack 1 win 65535 <wscale 8>
    > . 1:1(0) ack 1 win 257                      -> ESTABLISHED assured
    > P. 1:101(100) ack 1 win 257
    < . 1:1(0) ack 101 win 256                    -> ESTABLISHED 86400s
    > S 2000:2000(0) win 32792 <wscale 7>         -> ignored ESTABLISHED
    < . 1:1(0) ack 101 win 256                    -> ESTABLISHED
    > R. 101:101(0) ack 1 win 257                 -> CLOSE 10s
    > S 2000:2000(0) win 32792 <wscale 0>         -> reopened SYN_SENT 120s
    < S. 9000:9000(0) ack 2001 win 65535          -> SYN_RECV
  `);
});

test('an ignored SYN that is answered: both ends agree, so the record starts over, with the SYN’s options', () => {
  playScript(`${established(1000)}
    // Both ends restarted silently.
    > S 700000:700000(0) win 64240 <sackOK,wscale 7>               -> ignored ESTABLISHED
    < S. 900000:900000(0) ack 700001 win 65160 <sackOK,wscale 7>   -> SYN_RECV 60s
    > . 700001:700001(0) ack 900001 win 502                        -> ESTABLISHED
    // 502 << 7 = 64256 bytes are allowed; without the scale the second one would be far outside.
    < . 900001:901461(1460) ack 700001 win 502                     -> ESTABLISHED
    < . 960000:961460(1460) ack 700001 win 502                     -> ESTABLISHED
  `);
});

test('the reply to an ignored SYN must acknowledge it exactly', () => {
  playScript(`${established(1000)}
    > S 700000:700000(0) win 64240                -> ignored ESTABLISHED
    < S. 900000:900000(0) ack 700002 win 65160    -> ignored ESTABLISHED
    // This was a different last packet: the SYN must be retransmitted first.
    < S. 900000:900000(0) ack 700001 win 65160    -> ignored ESTABLISHED
    > S 700000:700000(0) win 64240                -> ignored ESTABLISHED
    < S. 900000:900000(0) ack 700001 win 65160    -> SYN_RECV
  `);
});

test('a challenge ACK in LAST_ACK does not pass for the acknowledgement of the last FIN', () => {
  playScript(`${established(65535)}
    > F. 1:1(0) ack 1 win 65535                   -> FIN_WAIT
    < . 1:1(0) ack 2 win 65535                    -> CLOSE_WAIT 3600s
    < F. 1:1(0) ack 2 win 65535                   -> LAST_ACK 30s
    wait 5s
    > S 500:500(0) win 65535                      -> ignored LAST_ACK 25s
    < . 2:2(0) ack 2 win 65535                    -> ignored LAST_ACK 25s
    > . 2:2(0) ack 2 win 65535                    -> TIME_WAIT 120s
  `);
});

test('a reset as the only reply removes the record at once, so that the next attempt is balanced again', () => {
  playScript(`
    > S 0:0(0) win 65535                          -> SYN_SENT
    < R. 0:0(0) ack 1 win 0                       -> refused
    > S 0:0(0) win 65535                          -> SYN_SENT 120s
  `);
});

test('unacknowledged data, retransmissions and a closed window shorten the timeout of an established connection', () => {
  playScript(`${established(65535)}
    > P. 1:101(100) ack 1 win 65535               -> ESTABLISHED 300s
    < . 1:1(0) ack 101 win 65535                  -> ESTABLISHED 86400s
    < . 1:1(0) ack 101 win 65535                  -> ESTABLISHED 86400s
    < . 1:1(0) ack 101 win 65535                  -> ESTABLISHED 86400s
    < . 1:1(0) ack 101 win 65535                  -> ESTABLISHED 300s
    > . 101:101(0) ack 1 win 65535                -> ESTABLISHED 86400s
    < . 1:1(0) ack 101 win 0                      -> ESTABLISHED 300s
    < . 1:1(0) ack 101 win 100                    -> ESTABLISHED 86400s
  `);
});

test('window updates of a receiver that drains its buffer are not retransmissions', () => {
  playScript(`${established(65535)}
    < . 1:1(0) ack 1 win 1000                     -> ESTABLISHED 86400s
    < . 1:1(0) ack 1 win 2000                     -> ESTABLISHED 86400s
    < . 1:1(0) ack 1 win 3000                     -> ESTABLISHED 86400s
    < . 1:1(0) ack 1 win 4000                     -> ESTABLISHED 86400s
    < . 1:1(0) ack 1 win 5000                     -> ESTABLISHED 86400s
  `);
});

test('a connection picked up in the middle is tracked liberally, and assured once both sides were seen', () => {
  playScript(`
    > P. 5000:5100(100) ack 9000 win 500          -> ESTABLISHED 300s
    > P. 5100:5200(100) ack 9000 win 500          -> ESTABLISHED 300s
    < . 9000:9000(0) ack 5200 win 500             -> ESTABLISHED 300s
    > P. 5200:5300(100) ack 9000 win 500          -> ESTABLISHED 300s assured
    < . 9000:9000(0) ack 5300 win 500             -> ESTABLISHED 86400s
    // The window scale is unknown: nothing is outside the window.
    < P. 99000:99100(100) ack 5300 win 500        -> ESTABLISHED
  `);
});

test('nf_conntrack_tcp_loose=0: only a SYN starts a connection', () => {
  playScript('> P. 5000:5100(100) ack 9000 win 500   -> invalid', { loose: 0 });
  playScript('> S 5000:5000(0) win 500               -> SYN_SENT', { loose: 0 });
});

test('nf_conntrack_tcp_be_liberal=1: a segment is invalid only if no state allows it', () => {
  const script = (outcome: string) => `${established(1000)}
    < P. 500000:500100(100) ack 1 win 1000        -> ${outcome}
    > R 0:0(0) win 0                              -> invalid ESTABLISHED
  `;
  playScript(script('invalid ESTABLISHED'));
  playScript(script('ESTABLISHED'), { liberal: 1 });
});

test('both sides end a connection whose record is out of sync: it is not kept for a day', () => {
  playScript(`${established(1000)}
    > F. 900000:900000(0) ack 1 win 1000          -> invalid ESTABLISHED 86400s
    > F. 900000:900000(0) ack 1 win 1000          -> invalid ESTABLISHED 86400s
    < F. 800000:800000(0) ack 1 win 1000          -> invalid ESTABLISHED 300s
  `);
});

test('data beyond the window by at most one window passes, and its acknowledgement is accepted', () => {
  playScript(`${established(1000)}
    < . 1:1001(1000) ack 1 win 1000               -> ESTABLISHED
    < . 1002:1502(500) ack 1 win 1000             -> ignored ESTABLISHED
    > . 1:1(0) ack 1502 win 1000                  -> ESTABLISHED
    < . 4000:5000(1000) ack 1 win 1000            -> invalid ESTABLISHED
  `);
});

test.run();
