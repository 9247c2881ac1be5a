/** The pipeline in a build that fails where a test wants it to (scripts/fault-points.mjs). */
export { processFrame, tick } from '../../native-free-dataplane/pipeline.ts';
export { Fault, failAt, statementsPassed } from './fault-point.ts';
