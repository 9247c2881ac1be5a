/**
 * The containers that the CNI plugin has connected, kept in a file so that the next agent serves them again. The file is
 * replaced as a whole, before ADD and after DEL report success.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { CniPortMapping } from '../../cni/protocol.ts';
import { replaceFile } from '../../linux/replace-file.ts';
import type { TrafficLimits } from '../node-sync.ts';

/** A container's device. */
export interface Attachment {
  /** Name of the network configuration. */
  readonly network: string;
  readonly containerID: string;
  readonly ifname: string;
  readonly netnsPath: string;
  readonly ip: string;
  /** Of its pod, or made from the container's ID where the runtime names none. */
  readonly namespace: string;
  readonly name: string;
  /** For runtimes without pods: kubelet's pods have their host ports in the Pod object. */
  readonly portMappings?: readonly CniPortMapping[];
  /** If the runtime has chosen it. */
  readonly mac?: string;
  /** For runtimes without pods: kubelet's pods have it in annotations. */
  readonly bandwidth?: TrafficLimits;
}

/** What identifies an attachment (SPEC.md, "Parameters"). */
export const attachmentKey = ({ containerID, ifname }: Pick<Attachment, 'containerID' | 'ifname'>): string =>
  `${containerID}/${ifname}`;

export class Attachments {
  private readonly file: string;
  private readonly known = new Map<string, Attachment>();

  /** Reads the file. @throws Error that names a file which cannot be read: its pods would be forgotten */
  constructor(file: string) {
    this.file = file;
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    try {
      for (const one of JSON.parse(text) as Attachment[]) this.known.set(attachmentKey(one), one);
    } catch (error) {
      throw new Error(
        `${file} is damaged (${(error as Error).message}): it lists the pods that are connected. After the node has been drained, remove it`,
      );
    }
  }

  get(containerID: string, ifname: string): Attachment | undefined {
    return this.known.get(attachmentKey({ containerID, ifname }));
  }

  /** The newest attachment of a pod. */
  ofPod(namespace: string, name: string): Attachment | undefined {
    return this.all()
      .reverse()
      .find((one) => one.namespace === namespace && one.name === name);
  }

  all(): Attachment[] {
    return [...this.known.values()];
  }

  /** @throws Error of the file system; the list is as before then */
  set(attachment: Attachment): void {
    const key = attachmentKey(attachment);
    const before = this.known.get(key);
    this.known.delete(key);
    this.known.set(key, attachment);
    try {
      this.write();
    } catch (error) {
      this.known.delete(key);
      if (before !== undefined) this.known.set(key, before);
      throw error;
    }
  }

  /** @throws Error of the file system; the next change writes the list then */
  remove({ containerID, ifname }: Pick<Attachment, 'containerID' | 'ifname'>): void {
    if (this.known.delete(attachmentKey({ containerID, ifname }))) this.write();
  }

  private write(): void {
    mkdirSync(dirname(this.file), { recursive: true });
    replaceFile(this.file, JSON.stringify(this.all()), { flush: true });
  }
}
