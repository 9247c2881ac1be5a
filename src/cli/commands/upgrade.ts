/** `dataplane upgrade`: another build for the running cluster. */
import { join } from 'node:path';
import type { Build, Compatibility } from '../../cluster/upgrade/build.ts';
import type { ShadowReport } from '../../cluster/upgrade/shadow.ts';
import type { UpgradeReport } from '../../cluster/upgrade/upgrade.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { dnsLabel, seconds, wholeNumber } from '../args/values.ts';
import { BRING_UP, failed, NOT_UP, needRoot, usageError } from '../errors.ts';
import { formatOf, note, print } from '../output/output.ts';
import type { NodeStatus } from '../sources/status.ts';

const SHADOW_SECONDS = 5;
const WATCH_SECONDS = 10;

export const command: Command = {
  usage: ['upgrade [--to DIST] [--canary NODE] [OPTIONS]'],
  about: `Replace the build that the running cluster runs, without losing a connection. The new build runs in shadow first: frames of the
running nodes are recorded and processed by both builds, each over its own copy of the tables, and verdicts and frames sent are compared.
Then it takes over node by node: devices and connections are handed over by the node's standby. Each node is watched; if its agent ends, a
worker fails, the node is not Ready or more of its packets fail than before, all nodes return to the former build. The controller is
last. Nothing is changed if the shadow differs. If this command ends early, even by SIGKILL, nodes return to the controller's build.`,
  options: {
    to: { value: 'DIST', help: 'folder dist of the new build (default: the build of this command)' },
    canary: { value: 'NODE', help: 'begin with this node (default: the first)' },
    shadow: { value: 'TIME', help: `how long frames are recorded for the shadow (default ${SHADOW_SECONDS}s)` },
    'max-differences': { value: 'N', help: 'differing packets in shadow that are accepted (default 0)' },
    'without-shadow': { help: 'do not run in shadow, as for a build with other tables' },
    watch: { value: 'TIME', help: `how long each node is watched before the next one (default ${WATCH_SECONDS}s)` },
    'lose-connections': { help: 'accept that all connections end, if the new build has another connection table' },
    output: { short: 'o', value: 'FORMAT', help: 'json' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane upgrade --to /opt/dataplane-2/dist',
    'dataplane upgrade --to ../fixed/dist --canary n2 --watch 1m',
  ],
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('upgrade', args, 0);
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const canary = args.value('canary', dnsLabel);
  const shadowSeconds = args.value('shadow', seconds) ?? SHADOW_SECONDS;
  const watchMs = (args.value('watch', seconds) ?? WATCH_SECONDS) * 1000;
  const withoutShadow = args.flag('without-shadow');
  const maxDifferences = args.value('max-differences', wholeNumber(0, 1_000_000, 'packets'));
  for (const name of ['shadow', 'max-differences'] as const) {
    if (withoutShadow && args.has(name)) throw usageError(`--${name} cannot be used with --without-shadow`);
  }
  needRoot('upgrade');
  const { readClusterFile, STATE_DIR } = await import('../../cluster/state.ts');
  const cluster = readClusterFile();
  if (cluster === undefined) throw failed(NOT_UP, BRING_UP);
  const { takeLock } = await import('../../linux/lock-file.ts');
  const lock = takeLock(join(STATE_DIR, 'upgrade.lock'));
  if (typeof lock === 'string') throw failed(`another upgrade is running (pid ${lock})`, 'wait for its end');
  const { readStatus } = await import('../sources/status.ts');
  const { controller, nodes: all } = await readStatus(cluster);
  // Those of this machine: others may have joined.
  const nodes = all.filter(({ name }) => cluster.nodes.some((own) => own.name === name));
  const names = inOrder(nodes, canary);
  const { buildOf, compare, programOf, readBuild } = await import('../../cluster/upgrade/build.ts');
  const running = controller.pid === null ? undefined : programOf(controller.pid);
  if (running === undefined) throw failed('the controller is not running', 'try again in a second');
  const unwell = nodes.find(({ ready }) => !ready);
  if (unwell !== undefined) throw failed(`node ${unwell.name} is not Ready: ${unwell.message}`, 'upgrade when it is');
  const wanted = args.text('to');
  const to = wanted === undefined ? buildOf(process.argv[1]!) : readBuild(wanted);
  if (to.main === running) {
    note(
      `the cluster already runs ${to.dist}: nothing was changed${wanted === undefined ? '; --to names a build' : ''}`,
    );
    return;
  }
  const from = buildOf(running);
  checkCost(compare(from, to), nodes, { withoutShadow, losesConnections: args.flag('lose-connections') });

  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => interrupted.abort(new Error('interrupted')));
  const { signal } = interrupted;
  let shadow: ShadowReport | undefined;
  if (!withoutShadow) {
    const { runShadow } = await import('../../cluster/upgrade/shadow.ts');
    note(`${to.dist} runs in shadow for ${shadowSeconds} s`);
    shadow = await runShadow(from, to, shadowSeconds, signal);
    for (const line of shadowLines(shadow)) note(line);
    if (shadow.different > (maxDifferences ?? 0)) {
      const what = `${shadow.different} of ${shadow.compared} packets differ in shadow; nothing was changed`;
      throw failed(what, 'if that is intended, accept them with --max-differences');
    }
  }
  const [{ upgrade }, { healthIn, readHealth }] = await Promise.all([
    import('../../cluster/upgrade/upgrade.ts'),
    import('../sources/node-health.ts'),
  ]);
  const before = new Map(nodes.map((node) => [node.name, rateOf(healthIn(node))]));
  const health = () => readHealth(readClusterFile() ?? cluster);
  const report = await upgrade({ from, to, nodes: names, watchMs, before, health, onProgress: note, signal });
  show({ ...report, shadow }, from, to, json);
}

const rateOf = ({ framesIn, failures }: { framesIn: number; failures: number }) => ({ frames: framesIn, failures });

/** The nodes, the canary first. @throws CliError */
function inOrder(nodes: readonly NodeStatus[], canary: string | undefined): string[] {
  const names = nodes.map(({ name }) => name);
  if (canary === undefined) return names;
  if (!names.includes(canary)) throw failed(`there is no node "${canary}"`, `expected one of ${names.join(', ')}`);
  return [canary, ...names.filter((name) => name !== canary)];
}

/** @throws CliError that says what the upgrade would cost, unless that is accepted */
function checkCost(
  { losesConnections, losesFrames, unreadable }: Compatibility,
  nodes: readonly NodeStatus[],
  accepted: { withoutShadow: boolean; losesConnections: boolean },
): void {
  if (losesConnections && !accepted.losesConnections) {
    const counts = nodes.map(({ name, conntrack }) => `${conntrack.entries} on ${name}`).join(', ');
    const what = `the new build has another layout of the connection table: all connections would end (${counts})`;
    throw failed(what, 'nothing was changed; accept it with --lose-connections');
  }
  if (unreadable.length > 0 && !accepted.withoutShadow) {
    const what = `the new build has another layout of ${unreadable.join(', ')}: it cannot run in shadow`;
    throw failed(what, 'nothing was changed; upgrade --without-shadow');
  }
  if (losesFrames) note('the new build cannot take the devices over: frames are lost for about a second on each node');
}

function shadowLines({ compared, different, differences }: ShadowReport): string[] {
  if (compared === 0) return ['no frames were forwarded meanwhile: nothing was compared'];
  const lines = [`${compared - different} of ${compared} packets are the same`];
  for (const { node, packet, expected, actual } of differences) {
    const verdicts = expected.verdict === actual.verdict ? `${actual.verdict}, but other frames` : '';
    lines.push(`  ${node}: ${packet}: ${verdicts || `${actual.verdict} now, ${expected.verdict} by the new build`}`);
  }
  if (different > differences.length) lines.push(`  and ${different - differences.length} more`);
  return lines;
}

function show(report: UpgradeReport, from: Build, to: Build, json: boolean): void {
  if (json) {
    print(JSON.stringify(report, null, 2));
    return;
  }
  const nodes = report.nodes.map(({ name, tookMs }) => `${name} in ${(tookMs / 1000).toFixed(1)} s`).join(', ');
  print(`upgraded from ${from.dist} (${from.version}) to ${to.dist} (${to.version}): ${nodes}, and the controller`);
}
