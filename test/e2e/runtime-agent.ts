/**
 * An agent with a pod, to be killed by the test that started it; prints `ready` when the pod is.
 *
 *   node runtime-agent.js STATE-DIRECTORY
 */
import { mc3, World } from './runtime-world.ts';

const world = new World(process.argv[2]);
mc3(world);
await world.ready('mc3');
console.log('ready');
setInterval(() => {}, 1000);
