/** The commands of `dataplane`: their names, one line about each, and their modules, which are loaded when they are used. */
import type { Command } from './args/args.ts';

type Loader = () => Promise<{ command: Command }>;

interface Entry {
  about: string;
  load: Loader;
}

export const GROUPS: Readonly<Record<string, Readonly<Record<string, Entry>>>> = {
  'The cluster': {
    up: { about: 'bring the cluster up and apply files', load: () => import('./commands/up.ts') },
    down: { about: 'remove the cluster', load: () => import('./commands/down.ts') },
    kubeconfig: {
      about: 'print the kubeconfig for kubectl and other clients',
      load: () => import('./commands/kubeconfig.ts'),
    },
    config: { about: 'show or change options of the running cluster', load: () => import('./commands/config.ts') },
    status: {
      about: 'show the state of nodes, agents, workers and tables',
      load: () => import('./commands/status.ts'),
    },
    upgrade: {
      about: 'replace the build of the running cluster, without losing a connection',
      load: () => import('./commands/upgrade.ts'),
    },
    completion: {
      about: 'print a completion script for a shell',
      load: async () => (await import('./commands/completion.ts')).completionOf(COMMANDS),
    },
  },
  Objects: {
    apply: { about: 'create or update objects from manifests', load: () => import('./commands/apply.ts') },
    delete: { about: 'delete objects by manifest or by name', load: () => import('./commands/delete.ts') },
    get: { about: 'show objects', load: () => import('./commands/get.ts') },
    describe: { about: 'show objects in full, with their events', load: () => import('./commands/describe.ts') },
    expose: { about: 'create a service for a pod or a deployment', load: () => import('./commands/expose.ts') },
  },
  Pods: {
    exec: { about: 'run a command in a container', load: () => import('./commands/exec.ts') },
    logs: { about: "print a container's output", load: () => import('./commands/logs.ts') },
    image: { about: 'load, list and remove images', load: () => import('./commands/image.ts') },
    'port-forward': {
      about: 'forward ports of this host to a pod',
      load: () => import('./commands/port-forward.ts'),
    },
    restart: { about: "restart a pod's containers and keep its network", load: () => import('./commands/restart.ts') },
  },
  'From this host': {
    run: { about: 'run a program of this host in the network of the cluster', load: () => import('./commands/run.ts') },
    collect: {
      about: 'write state and logs into a directory, for a report or CI',
      load: () => import('./commands/collect.ts'),
    },
  },
  Packets: {
    trace: {
      about: 'follow a packet through the live tables, step by step',
      load: () => import('./commands/trace.ts'),
    },
    why: { about: 'find out why one end cannot connect to another', load: () => import('./commands/why.ts') },
    observe: {
      about: 'show connections and drops, with filters and formats of Hubble',
      load: () => import('./commands/observe.ts'),
    },
    ui: {
      about: 'show the cluster, its traffic and the walks of packets on a web page',
      load: () => import('./commands/ui.ts'),
    },
    top: { about: 'show the load of nodes, workers and connections, live', load: () => import('./commands/top.ts') },
    policy: { about: 'explain what NetworkPolicies allow', load: () => import('./commands/policy.ts') },
    capture: {
      about: 'capture frames with their verdicts, as lines or for Wireshark',
      load: () => import('./commands/capture.ts'),
    },
    snapshot: {
      about: 'write the tables of running nodes to a file, and record the frames from then on',
      load: () => import('./commands/snapshot.ts'),
    },
    replay: {
      about: 'run recorded frames over a snapshot, and compare what comes out',
      load: () => import('./commands/replay.ts'),
    },
    extcap: { about: "captures in Wireshark's own window", load: () => import('./commands/extcap.ts') },
    dns: { about: 'look a name up as a pod does, step by step', load: () => import('./commands/dns.ts') },
    conntrack: { about: 'show or flush the tracked connections', load: () => import('./commands/conntrack.ts') },
  },
  'Processes that `up` starts': {
    controller: { about: 'run the API and the controllers', load: () => import('./commands/controller.ts') },
    agent: { about: "run one node's data plane and pods", load: () => import('./commands/agent.ts') },
    node: {
      about: 'list what an agent has on a machine, and remove it',
      load: () => import('./commands/node.ts'),
    },
    token: { about: 'make tokens with which other machines join', load: () => import('./commands/token.ts') },
    join: {
      about: 'make this machine a node of a cluster on another machine',
      load: () => import('./commands/join.ts'),
    },
  },
};

export const COMMANDS: Readonly<Record<string, Entry>> = Object.assign({}, ...Object.values(GROUPS));
