/**
 * An agent with a pod, to be killed by the test that started it; prints `ready` when the pod is.
 *
 *   node runtime-agent.js STATE-DIRECTORY
 */
import { mc3, RuntimeFixture } from './runtime-fixture.ts';

const runtime = new RuntimeFixture(process.argv[2]);
mc3(runtime);
await runtime.ready('mc3');
console.log('ready');
setInterval(() => {}, 1000);
