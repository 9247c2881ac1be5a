/** `dataplane expose`: creates a service for a pod, or for the pods of a deployment or another service. */
import type { Deployment, Pod, Service, ServiceType } from '../../api/types/objects.ts';
import type { Args, Command } from '../args/args.ts';
import { readOperands } from '../args/kinds.ts';
import { oneOf, portNumber } from '../args/values.ts';
import { failed, usageError } from '../errors.ts';
import { formatOf, OUTPUT_OPTION, print, printObject } from '../output/output.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer'] as const satisfies readonly ServiceType[];

export const command: Command = {
  usage: ['expose pod NAME --port PORT [--type TYPE] [OPTIONS]', 'expose deployment NAME --port PORT'],
  about: `Create a service that selects a pod by its labels.`,
  options: {
    type: { value: 'TYPE', help: `${TYPES.join(', ')} (default ClusterIP)` },
    port: { value: 'PORT', help: "the service's port; default: the container's, when it declares one" },
    'target-port': { value: 'PORT', help: "the container's port, by number or name (default: the same as --port)" },
    'node-port': { value: 'PORT', help: 'the port on every node (default: allocated)' },
    protocol: { value: 'PROTOCOL', help: 'TCP (default), UDP or SCTP' },
    name: { value: 'NAME', help: "the service's name (default: the pod's)" },
    'cluster-ip': { value: 'IP', help: "the service's address (default: allocated); None for a headless service" },
    'session-affinity': { value: 'MODE', help: 'None (default) or ClientIP' },
    ...NAMESPACE_OPTION,
    ...OUTPUT_OPTION,
    'dry-run': { help: 'let the cluster validate the object without changing anything' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane expose pod mc3 --type NodePort --port 80 --node-port 31418'],
  run,
};

async function run(args: Args): Promise<void> {
  const { objects } = readOperands(args.operands);
  const [target, extra] = objects;
  if (target === undefined || extra !== undefined) {
    throw usageError('dataplane expose: expected one object', 'such as `dataplane expose pod mc3 --port 80`');
  }
  const type = args.value('type', oneOf(...TYPES)) ?? 'ClusterIP';
  const nodePort = args.value('node-port', portNumber);
  if (nodePort !== undefined && type === 'ClusterIP') {
    throw usageError('--node-port is for services of type NodePort', 'add --type NodePort');
  }
  const protocol = args.value('protocol', oneOf('TCP', 'UDP', 'SCTP')) ?? 'TCP';
  const port = args.value('port', portNumber);
  const targetPort = args.text('target-port');
  const sessionAffinity = args.value('session-affinity', oneOf('None', 'ClientIP'));
  const format = formatOf(args.text('output'), ['json', 'yaml', 'name']);
  const namespace = namespaceOf(args);
  const dryRun = args.flag('dry-run');
  const name = args.text('name') ?? target.name;
  const clusterIP = args.text('cluster-ip');
  await withClient(async (client) => {
    const object = await client.get(target.resource.kind, target.name, namespace);
    const { selector, labels, ports } = exposed(object as Pod | Deployment | Service);
    const wanted = port === undefined ? ports : [port];
    if (wanted.length === 0) throw usageError(`${target.name} declares no port`, 'add --port PORT');
    const service = await client.create<Service>(
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace, ...(labels && { labels }) },
        spec: {
          type,
          selector,
          ...(clusterIP !== undefined && { clusterIP }),
          ...(sessionAffinity !== undefined && { sessionAffinity }),
          ports: wanted.map((number, i) => ({
            ...(wanted.length > 1 && { name: `port-${i + 1}` }),
            protocol,
            port: number,
            targetPort: targetPort === undefined ? number : /^\d+$/.test(targetPort) ? Number(targetPort) : targetPort,
            ...(nodePort !== undefined && i === 0 && { nodePort }),
          })),
        },
      },
      { dryRun },
    );
    if (format === 'json' || format === 'yaml') await printObject(service, format);
    else if (format === 'name') print(`service/${service.metadata.name}`);
    else print(`service/${service.metadata.name} exposed${dryRun ? ' (dry run)' : ''}`);
  });
}

function exposed(object: Pod | Deployment | Service) {
  const { kind, metadata } = object;
  const { labels } = metadata;
  if (kind === 'Pod') {
    if (labels === undefined || Object.keys(labels).length === 0) {
      throw failed(`pod ${metadata.name} has no labels, so no service can select it`, 'add a label to its manifest');
    }
    return { selector: labels, labels, ports: portsOf(object) };
  }
  if (kind === 'Deployment') {
    const selector = object.spec.selector.matchLabels ?? {};
    return { selector, labels, ports: object.spec.template.spec.containers.flatMap(containerPorts) };
  }
  if (kind === 'Service' && object.spec.selector !== undefined) {
    return { selector: object.spec.selector, labels, ports: (object.spec.ports ?? []).map(({ port }) => port) };
  }
  throw usageError(`a ${(kind as string).toLowerCase()} cannot be exposed`, 'name a pod, a deployment or a service');
}

const portsOf = (pod: Pod) => pod.spec.containers.flatMap(containerPorts);
const containerPorts = ({ ports }: Pod['spec']['containers'][number]) =>
  (ports ?? []).map((port) => port.containerPort);
