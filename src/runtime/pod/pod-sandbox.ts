/**
 * The sandbox of one pod: its namespaces with the pause process that holds them, and its network. Created when the pod
 * has an address, attached once by each agent, removed with the pod or when pause has died.
 */
import { WellKnown } from '../../api/types/objects.ts';
import { isAlive } from '../../linux/processes.ts';
import { kernelHostname } from '../files/etc-files.ts';
import { podDirectories, readState } from '../state.ts';
import type { PodContext } from './context.ts';
import type { PodManagerOptions } from './options.ts';
import { endPause, netnsNameOf, netnsPathOf, removeSandbox, type Sandbox, startSandbox } from './sandbox.ts';

export class PodSandbox {
  private readonly context: PodContext;
  private readonly options: PodManagerOptions;
  private attached = false;

  constructor(context: PodContext, options: PodManagerOptions) {
    this.context = context;
    this.options = options;
    const { podIP } = context.state;
    if (podIP !== '') options.addresses?.take(podIP);
  }

  /** Has the pause process died while the pod still exists? */
  isLost(): boolean {
    const { pause } = this.context.state;
    return pause !== undefined && !isAlive(pause);
  }

  /** Create and attach it, unless done already. @returns false if that is not possible yet */
  async ensure(): Promise<boolean> {
    const { context } = this;
    const { pod, state } = context;
    if (state.pause === undefined) {
      const { hostNetwork = false } = pod.spec;
      state.podIP = hostNetwork
        ? (this.options.nodeIP ?? '')
        : (pod.metadata.annotations?.[WellKnown.POD_IP] ?? state.podIP);
      if (state.podIP === '') state.podIP = this.assignAddress();
      if (state.podIP === '') return false; // The scheduler has not assigned it yet.
      state.netnsName = hostNetwork ? '' : this.freeName();
      context.save();
      const { mark, child } = await startSandbox(state.netnsName || undefined, {
        hostname: kernelHostname(pod, this.options.dns?.domain),
        shareProcesses: pod.spec.shareProcessNamespace === true,
        hostIpc: pod.spec.hostIPC === true,
        stateDir: context.stateDir,
        podDirectory: context.podDir,
      });
      child.once('exit', context.wake);
      state.pause = mark;
      context.save();
    }
    if (!this.attached && state.netnsName !== '') {
      await this.options.network.attach(this.describe());
      this.attached = true;
    }
    return true;
  }

  /** Detach its network and end its processes. */
  async remove(): Promise<void> {
    const { state } = this.context;
    if (state.pause === undefined && !this.attached) return;
    if (this.attached) {
      this.attached = false;
      await this.options.network.detach(this.describe()).catch((error: Error) => {
        const { namespace = 'default', name } = this.context.pod.metadata;
        this.options.log(`pod ${namespace}/${name}: detaching its network: ${error.message}`);
      });
    }
    if (state.netnsName === '') await endPause(state.pause);
    else await removeSandbox(state.netnsName, state.pause);
    state.pause = undefined;
    if (this.options.addresses !== undefined) {
      this.options.addresses.release(state.podIP);
      state.podIP = '';
    }
    this.context.save();
  }

  /** Empty if the scheduler assigns addresses. @throws Error if every address of the node is in use */
  private assignAddress(): string {
    const { addresses } = this.options;
    if (addresses === undefined) return '';
    const address = addresses.assign();
    if (address === undefined) throw new Error("no address is left in the node's pod network");
    return address;
  }

  private describe(): Sandbox {
    const { netnsName, podIP, pause } = this.context.state;
    const { namespace = 'default', name, uid } = this.context.pod.metadata;
    return { namespace, name, uid, netnsName, netnsPath: netnsPathOf(netnsName), podIP, pausePid: pause?.pid ?? 0 };
  }

  /** `a-b`/`c` and `a`/`b-c` have the same name: the second gets part of its uid appended. */
  private freeName(): string {
    const { stateDir, podDir, pod } = this.context;
    const { namespace = 'default', name, uid } = pod.metadata;
    const plain = netnsNameOf(namespace, name);
    const taken = podDirectories(stateDir).some((directory) => {
      const other = directory === podDir ? undefined : readState(directory);
      return other?.netnsName === plain;
    });
    return taken ? netnsNameOf(namespace, name, `-${uid.slice(0, 8)}`) : plain;
  }
}
