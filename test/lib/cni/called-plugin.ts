/** Calls a CNI plugin as libcni does (containernetworking/cni libcni/api.go, pkg/invoke): environment, standard input. */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { CniResult } from '../../../src/cni/protocol.ts';
import { output, type Ran, run } from '../cluster.ts';

export interface CniContainer {
  readonly id: string;
  /** Name of its network namespace. */
  readonly netns: string;
  readonly ifname?: string;
  readonly pod?: { readonly namespace: string; readonly name: string };
}

interface List {
  cniVersion: string;
  name: string;
  plugins: Record<string, unknown>[];
}

export class CalledPlugin {
  private readonly list: List;
  private readonly plugin: string;

  /**
   * @param conflist the configuration that the runtime has found
   * @param programs the folder with the plugin
   */
  constructor(conflist: string, programs: string) {
    this.list = JSON.parse(readFileSync(conflist, 'utf8')) as List;
    this.plugin = `${programs}/${this.list.plugins[0]?.type}`;
  }

  /** @param more further fields of the plugin's configuration */
  call(command: string, container?: CniContainer, more: object = {}): Promise<Ran> {
    const { capabilities: _, ...plugin } = this.list.plugins[0] as Record<string, unknown>;
    const config = { ...plugin, cniVersion: this.list.cniVersion, name: this.list.name, ...more };
    return this.callWith(command, JSON.stringify(config), container);
  }

  callWith(command: string, input: string, container?: CniContainer): Promise<Ran> {
    const { id = '', netns = '', ifname = 'eth0', pod } = container ?? {};
    const args = pod && `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name}`;
    return run([this.plugin], {
      input,
      env: {
        CNI_COMMAND: command,
        CNI_PATH: dirname(this.plugin),
        ...(container && { CNI_CONTAINERID: id, CNI_NETNS: `/run/netns/${netns}`, CNI_IFNAME: ifname }),
        ...(args && { CNI_ARGS: args }),
      },
    });
  }

  /** @throws Error with the plugin's error document */
  async add(container: CniContainer, more: object = {}): Promise<CniResult> {
    return JSON.parse(await succeeded(this.call('ADD', container, more))) as CniResult;
  }

  async delete(container: CniContainer, more: object = {}): Promise<void> {
    await succeeded(this.call('DEL', container, more));
  }
}

async function succeeded(ran: Promise<Ran>): Promise<string> {
  const { status, stdout, stderr } = await ran;
  if (status !== 0) throw new Error(`status ${status}: ${stdout}${stderr}`);
  return stdout;
}

/** A container's network namespace. */
export async function makeContainerNamespace(name: string): Promise<void> {
  await output(run(['ip', 'netns', 'add', name]));
}
