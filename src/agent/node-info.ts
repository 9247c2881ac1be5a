/** What a Node says of its machine and its agent (`status.nodeInfo`), for `kubectl get nodes -o wide` and `describe`. */
import { readFileSync } from 'node:fs';
import { arch, release } from 'node:os';
import { KUBERNETES_VERSION } from '../api/version.ts';

/** Go's names of processors, which Kubernetes uses. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

function firstLine(path: string): string {
  try {
    return readFileSync(path, 'utf8').split('\n')[0]!.trim();
  } catch {
    return ''; // Not on every machine.
  }
}

export function nodeInfo(): Record<string, string> {
  return {
    architecture: ARCHITECTURES[arch()] ?? arch(),
    bootID: firstLine('/proc/sys/kernel/random/boot_id'),
    containerRuntimeVersion: `dataplane://${KUBERNETES_VERSION}`,
    kernelVersion: release(),
    kubeProxyVersion: '',
    kubeletVersion: KUBERNETES_VERSION,
    machineID: firstLine('/etc/machine-id'),
    operatingSystem: 'linux',
    osImage: osImage(),
    systemUUID: firstLine('/sys/class/dmi/id/product_uuid'),
  };
}

function osImage(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  } catch {
    return '';
  }
}
