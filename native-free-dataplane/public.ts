/**
 * The package's export `dataplane/pipeline`: lay out a node's tables in plain memory, fill them, and process frames.
 * Nothing inside the pipeline imports this file.
 *
 *     const tables = { conntrack: new ArrayBuffer(conntrackBytes(options)), … };
 *     createConntrack(tables.conntrack, options); …                // lay out each table once
 *     const dp = attachDataplane(tables, 0, { emit: (pkt) => … }, features);
 *     const pkt = new Packet(new ArrayBuffer(ARENA_BYTES));
 *     pkt.bytes.set(frame, FRAME_AT);
 *     pkt.reset(FRAME_AT, FRAME_AT + frame.length, port);
 *     verdictName(processFrame(pkt, dp, nowMs));                   // and call tick(dp, nowMs) from time to time
 */
export { type ConntrackOptions, conntrackBytes, createConntrack } from './conntrack/record.ts';
export {
  ARENA_BYTES,
  attachDataplane,
  type Dataplane,
  type Emitter,
  type Features,
  FRAME_AT,
  type TableBuffers,
} from './dataplane.ts';
export { createFragments, type FragmentOptions, fragmentsBytes } from './fragments/table.ts';
export {
  createNodeTable,
  type NodeTable,
  type NodeTableOptions,
  NodeWord,
  nodeTableBytes,
  setConfigAddress,
} from './node/config.ts';
export { HOST_HOP, type HopContents, HopKind, NO_HOP, setHop } from './node/hops.ts';
export { removeRoute, setRoute } from './node/routes.ts';
export { Packet } from './packet.ts';
export { processFrame, tick } from './pipeline.ts';
export type { DecidingRule, Decisions, GroupRow, PairRow, PodRow, PolicyContents } from './policies/contents.ts';
export { type Judged, type JudgedConnection, type JudgedDirection, judgeByTable, ruleText } from './policies/judge.ts';
export { type NumberedRule, RuleNumbers, readRule, readRules } from './policies/rules.ts';
export { createPolicies, type PolicyOptions, type PolicyTable, policyBytes } from './policies/table.ts';
export { PolicyWriter, writePolicies } from './policies/writer.ts';
export { printBytes } from './print/frame.ts';
export type { EndpointContents, FrontendContents, ServicePortContents } from './services/contents.ts';
export { createServices, type ServicesOptions, type ServiceTable, servicesBytes } from './services/table.ts';
export { ServiceWriter } from './services/writer.ts';
export { type CountersOptions, countersBytes, createCounters, verdictTotal } from './shared/counters.ts';
export { Verdict, verdictName } from './verdicts.ts';
export { addressWords, formatAddress, parseAddress } from './wire/address.ts';
