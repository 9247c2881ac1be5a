/** The servers in a network's pods, started once per round: iperf3, sockperf, nginx, and the accepting server of traffic.c. Idle
 * servers use no CPU, so they do not affect other measurements. */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { Port, type TestNetwork } from '../contenders/contender.ts';
import { inside, stateDirectory } from '../lib/netns.ts';
import { background, end } from '../lib/processes.ts';
import { compiled, has } from '../lib/tools.ts';

const PAGE = 'Hello from behind the service.\n';

export interface Servers {
  stop(): Promise<void>;
}

/** Starts every server whose program is installed, in every pod that is the server of a path. */
export async function startServers(network: TestNetwork): Promise<Servers> {
  const pods = new Set<string>();
  for (const path of [network.sameNode, network.acrossNodes, network.nodePortNear, network.nodePortFar]) {
    if (path) pods.add(path.serverNetns);
  }
  const running: ChildProcess[] = [];
  const directories: string[] = [];
  const start = async (netns: string, words: string[], ready?: RegExp) => {
    running.push(await background(inside(netns, ...words), ready));
  };
  for (const netns of pods) {
    if (has('iperf3')) await start(netns, ['iperf3', '-s', '-p', String(Port.IPERF), '--forceflush'], /listening/i);
    if (has('sockperf'))
      await start(netns, ['sockperf', 'sr', '--tcp', '-p', String(Port.SOCKPERF)], /to terminate|Warmup/i);
    if (has('gcc')) await start(netns, [compiled('traffic'), 'accept', String(Port.ACCEPT), '1'], /ready/);
    if (has('nginx')) {
      const directory = stateDirectory(`nginx-${netns}`);
      directories.push(directory);
      await start(netns, ['nginx', '-c', nginxConfiguration(directory)]);
    }
  }
  return {
    async stop(): Promise<void> {
      for (const child of running) await end(child);
      for (const directory of directories) rmSync(directory, { recursive: true, force: true });
    },
  };
}

function nginxConfiguration(directory: string): string {
  mkdirSync(`${directory}/temp`, { recursive: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${directory}/temp;`)
    .join('\n');
  writeFileSync(
    `${directory}/nginx.conf`,
    `daemon off;
worker_processes 1;
pid ${directory}/pid;
error_log ${directory}/error.log;
events { worker_connections 4096; }
http {
${temporary}
  access_log off;
  keepalive_requests 1000000000;
  server {
    listen ${Port.HTTP} backlog=4096;
    location / { default_type text/plain; return 200 ${JSON.stringify(PAGE)}; }
  }
}
`,
  );
  return `${directory}/nginx.conf`;
}
