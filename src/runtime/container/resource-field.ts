/**
 * The amount to which a `resourceFieldRef` refers (kubernetes pkg/api/v1/resource, ExtractContainerResourceValue): whole
 * units of its divisor, rounded up. A limit of cpu or memory that is not set is what the node has.
 */
import { availableParallelism, totalmem } from 'node:os';
import { templateContainersOf } from '../../api/containers.ts';
import { Quantity } from '../../api/quantity.ts';
import type { Container, PodSpec, ResourceFieldRef } from '../../api/types/objects.ts';

export interface NodeAmounts {
  cpus: number;
  memoryBytes: number;
}

/** Every node has the whole machine. */
export const thisMachine = (): NodeAmounts => ({ cpus: availableParallelism(), memoryBytes: totalmem() });

/** @param own the container it is written in; a volume has to name one. @throws Error if there is no such container */
export function resourceText(spec: PodSpec, ref: ResourceFieldRef, node: NodeAmounts, own?: Container): string {
  const { containerName, resource, divisor } = ref;
  const all = templateContainersOf(spec);
  const container = containerName ? all.find(({ name }) => name === containerName) : own;
  if (container === undefined) throw new Error(`container ${containerName ?? ''} not found`);
  const [kind, name = ''] = resource.split(/\.(.*)/) as ['limits' | 'requests', string];
  const given = Quantity.parse(container.resources?.[kind]?.[name]);
  const amount = given ?? (kind === 'limits' ? capacityOf(name, node) : Quantity.ZERO);
  const unit = Quantity.from(divisor).nanos || Quantity.ONE.nanos;
  return String((amount.nanos + unit - 1n) / unit);
}

function capacityOf(name: string, { cpus, memoryBytes }: NodeAmounts): Quantity {
  if (name === 'cpu') return Quantity.of(cpus);
  return name === 'memory' ? Quantity.ofBytes(memoryBytes) : Quantity.ZERO;
}
