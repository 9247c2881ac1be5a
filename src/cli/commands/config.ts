/** `dataplane config`: shows the cluster's options and changes those that may change while it runs. */
import type { ClusterOptions } from '../../api/cluster-options.ts';
import type { LiveOptions } from '../../cluster/live-options.ts';
import type { Args, Command } from '../args/args.ts';
import { readTimeout } from '../args/cluster-args.ts';
import { oneOf } from '../args/values.ts';
import { needRoot, usageError } from '../errors.ts';
import { formatOf, print } from '../output/output.ts';
import { tableText } from '../output/table.ts';
import { withClient } from '../with-client.ts';

type Change = (present: ClusterOptions) => Partial<LiveOptions>;

interface Row {
  read: (options: ClusterOptions) => string;
  /** Parses the value of `set`; undefined if the option cannot change while the cluster runs. */
  set?: (text: string, key: string) => Change;
}

const list = (texts: readonly string[]): string => texts.join(',') || '<none>';
const onOff = oneOf('on', 'off');

/** Keyed by the option's name in `dataplane up`, in the same order. */
const ROWS: Readonly<Record<string, Row>> = {
  overlay: { read: ({ overlay }) => overlay },
  mtu: { read: ({ mtu }) => (mtu === 0 ? 'automatic' : String(mtu)) },
  'pod-cidr': { read: ({ podCidr }) => podCidr },
  'service-cidr': { read: ({ serviceCidr }) => serviceCidr },
  'vxlan-port': { read: ({ vxlanPort }) => String(vxlanPort) },
  'node-port-range': { read: ({ nodePortRange }) => nodePortRange.join('-') },
  'masquerade-ports': { read: ({ masqueradePorts }) => masqueradePorts.join('-') },
  'port-policy': {
    read: ({ portPolicy }) => portPolicy,
    set: (text, key) => {
      const portPolicy = oneOf('open', 'declared')(text, key);
      return () => ({ portPolicy });
    },
  },
  'max-conntrack': { read: ({ maxConntrack }) => String(maxConntrack) },
  'conntrack-tcp-liberal': {
    read: ({ conntrackTcpLiberal }) => (conntrackTcpLiberal ? 'on' : 'off'),
    set: (text, key) => {
      const conntrackTcpLiberal = onOff(text, key) === 'on';
      return () => ({ conntrackTcpLiberal });
    },
  },
  'conntrack-tcp-strict': {
    read: ({ conntrackTcpLoose }) => (conntrackTcpLoose ? 'off' : 'on'),
    set: (text, key) => {
      const conntrackTcpLoose = onOff(text, key) === 'off';
      return () => ({ conntrackTcpLoose });
    },
  },
  'local-policy-action': {
    read: ({ localPolicyAction }) => localPolicyAction,
    set: (text, key) => {
      const localPolicyAction = oneOf('reject', 'drop')(text, key);
      return () => ({ localPolicyAction });
    },
  },
  'forward-link-local': {
    read: ({ forwardLinkLocal }) => (forwardLinkLocal ? 'on' : 'off'),
    set: (text, key) => {
      const forwardLinkLocal = onOff(text, key) === 'on';
      return () => ({ forwardLinkLocal });
    },
  },
  'load-balancer-pool': { read: ({ loadBalancerPool }) => list(loadBalancerPool) },
  'external-ip-cidr': { read: ({ externalIpCidrs }) => list(externalIpCidrs) },
};

const TIMEOUT = 'conntrack-timeout.';

export const command: Command = {
  usage: ['config [get] [-o json]', 'config set KEY=VALUE…'],
  about: `Show the cluster's options, by their names in \`dataplane up\`, or change those that may change while it runs:
port-policy, local-policy-action, conntrack-tcp-liberal, conntrack-tcp-strict and forward-link-local (on or off), and
conntrack-timeout.NAME (seconds; NAME as in \`dataplane up --help\`). A change takes effect on every node at once. A
connection gets a new timeout with its next packet.`,
  options: {
    output: { short: 'o', value: 'FORMAT', help: 'json' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane config', 'sudo dataplane config set conntrack-timeout.udp=60 port-policy=declared'],
  run,
};

async function run(args: Args): Promise<void> {
  const [verb = 'get', ...rest] = args.operands;
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const { changeOptions, readOptions } = await import('../../cluster/live-options.ts');
  if (verb === 'get') {
    if (rest[0] !== undefined) throw usageError(`dataplane config get: unexpected argument "${rest[0]}"`);
    return show(await withClient(readOptions), json);
  }
  if (verb !== 'set') throw usageError(`dataplane config: unknown operation "${verb}"`, 'expected get or set');
  if (rest.length === 0) throw usageError('dataplane config set: KEY=VALUE is missing', `KEY is one of ${settable()}`);
  const changes = rest.map(readChange);
  needRoot('config set');
  const options = await withClient((client) =>
    changeOptions(client, (present) => {
      const next = { ...present };
      for (const change of changes) Object.assign(next, change(next));
      return next;
    }),
  );
  show(options, json);
}

const settable = (): string =>
  [...Object.keys(ROWS).filter((key) => ROWS[key]!.set !== undefined), `${TIMEOUT}NAME`].join(', ');

/** One `KEY=VALUE`. @throws CliError with status 2 */
function readChange(text: string): Change {
  const equals = text.indexOf('=');
  if (equals < 0) throw usageError(`dataplane config set ${text}: expected KEY=VALUE`, `KEY is one of ${settable()}`);
  const key = text.slice(0, equals);
  const value = text.slice(equals + 1);
  if (key.startsWith(TIMEOUT)) {
    const [name, seconds] = readTimeout(`${key.slice(TIMEOUT.length)}=${value}`, 'conntrack-timeout');
    return ({ conntrackTimeouts }) => ({ conntrackTimeouts: { ...conntrackTimeouts, [name]: seconds } });
  }
  const row = Object.hasOwn(ROWS, key) ? ROWS[key] : undefined;
  if (row === undefined)
    throw usageError(`dataplane config set: there is no option "${key}"`, `expected one of ${settable()}`);
  if (row.set === undefined) {
    throw usageError(
      `${key} cannot change while the cluster is up`,
      `\`dataplane down\`, then \`up --${key} ${value}\``,
    );
  }
  return row.set(value, key);
}

function show(options: ClusterOptions, json: boolean): void {
  if (json) {
    print(JSON.stringify(options, null, 2));
    return;
  }
  const rows = Object.entries(ROWS).map(([key, { read }]) => [key, read(options)]);
  const timeouts = Object.entries(options.conntrackTimeouts).map(([name, seconds]) => [
    `${TIMEOUT}${name}`,
    `${seconds}`,
  ]);
  print(tableText([['OPTION', 'VALUE'], ...rows, ...timeouts]));
}
