/** The traffic of the micro-benchmarks gets through: a row whose packets are dropped measures something else. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SCENARIOS, tcpConversation, udpConversation } from '../../bench/micro/lib/scenarios.ts';

const test = suite('bench scenarios');

for (const scenario of SCENARIOS) {
  test(`${scenario.name}: 1,000 UDP flows and a TCP connection are answered`, () => {
    assert.is(udpConversation(scenario, 1000).replies.length, 1000);
    assert.is(tcpConversation(scenario, 1).replies.length, 1);
  });
}

test.run();
