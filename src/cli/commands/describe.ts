/** `dataplane describe`: objects in full, with their events. */
import type { ApiClient } from '../../api/client/client.ts';
import type { Resource } from '../../api/resources.ts';
import { ageOf } from '../../api/tables/age.ts';
import { printSelector } from '../../api/tables/cells.ts';
import { podReason } from '../../api/tables/pod-text.ts';
import type {
  ConfigMap,
  Deployment,
  EventObject,
  KubeObject,
  NodeObject,
  Pod,
  Secret,
  Service,
} from '../../api/types/objects.ts';
import type { Args, Command } from '../args/args.ts';
import { readOperands } from '../args/kinds.ts';
import { annotationLines, describePod, labelLines, printTime } from '../describe/pod.ts';
import { describeService } from '../describe/service.ts';
import { failed, usageError } from '../errors.ts';
import { note, print, toYaml } from '../output/output.ts';
import { layOut, tableText, terminalOf } from '../output/table.ts';
import { type Block, block, type Line, printBlock } from '../output/text.ts';
import { NAMESPACE_OPTION, namespaceOf, withClient } from '../with-client.ts';

export const command: Command = {
  usage: ['describe KIND NAME… [-n NAMESPACE]', 'describe KIND/NAME…', 'describe KIND [-l LABELS]'],
  about: 'Show objects in full, with their events.',
  options: {
    ...NAMESPACE_OPTION,
    selector: { short: 'l', value: 'LABELS', help: 'all objects of the kind with these labels' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane describe pod mc3', 'dataplane describe service mc3', 'dataplane describe node n1'],
  run,
};

async function run(args: Args): Promise<void> {
  const { resources, objects } = readOperands(args.operands);
  if (resources.length + objects.length === 0) throw usageError('dataplane describe: KIND NAME is missing');
  const namespace = namespaceOf(args);
  await withClient(async (client) => {
    const found: { resource: Resource; object: KubeObject }[] = [];
    for (const { resource, name } of objects) {
      found.push({
        resource,
        object: await client.get(resource.kind, name, resource.namespaced ? namespace : undefined),
      });
    }
    for (const resource of resources) {
      const selection = { labelSelector: args.text('selector'), ...(resource.namespaced && { namespace }) };
      for (const object of (await client.list(resource.kind, selection)).items) found.push({ resource, object });
    }
    if (found.length === 0) return note(`No resources found in ${namespace} namespace.`);
    const texts: string[] = [];
    for (const { object } of found) {
      const body = await describe(client, object);
      const drops = object.kind === 'Pod' ? await dropsOf(object as Pod) : '';
      texts.push(printBlock(body) + drops + (await events(client, object)));
    }
    print(texts.join('\n\n'));
  });
}

async function describe(client: ApiClient, object: KubeObject): Promise<Block> {
  switch (object.kind) {
    case 'Pod':
      return describePod(object as Pod);
    case 'Service':
      return describeService(client, object as Service);
    case 'Node':
      return describeNode(client, object as NodeObject);
    case 'Deployment':
      return describeDeployment(object as Deployment);
    case 'ConfigMap':
      return block(...head(object), ...dataLines((object as ConfigMap).data));
    case 'Secret': {
      const { type, data } = object as Secret;
      const sizes = Object.entries(data ?? {}).map(
        ([key, v]): Line => [key, `${Buffer.from(v, 'base64').length} bytes`],
      );
      return block(...head(object), ['Type', type ?? 'Opaque'], ['Data', block(...sizes)]);
    }
    default: {
      const { apiVersion, kind, metadata, ...rest } = object;
      const lines = (await toYaml(rest)).trimEnd().split('\n');
      return block(...head(object), ['API Version', apiVersion], ['Kind', kind], ['Content', lines]);
    }
  }
}

const head = ({ metadata }: KubeObject): Line[] => [
  ['Name', metadata.name],
  ...(metadata.namespace === undefined ? [] : [['Namespace', metadata.namespace] satisfies Line]),
  ['Labels', labelLines(metadata.labels)],
  ['Annotations', annotationLines(metadata.annotations)],
];

const dataLines = (data: Record<string, string> | undefined): Line[] =>
  Object.entries(data ?? {}).map(([key, value]): Line => [key, ['', ...value.split('\n')]]);

async function describeNode(client: ApiClient, node: NodeObject): Promise<Block> {
  const { metadata, spec, status } = node;
  const pods = await client.list('Pod', { fieldSelector: `spec.nodeName=${metadata.name}` });
  const rows = layOut([
    ['Namespace', 'Name', 'Status', 'IP'],
    ...pods.items.map((pod) => [
      pod.metadata.namespace ?? '',
      pod.metadata.name,
      podReason(pod),
      pod.status?.podIP ?? '',
    ]),
  ]);
  return block(
    ...head(node),
    ['CreationTimestamp', printTime(metadata.creationTimestamp)],
    ['Unschedulable', String(spec?.unschedulable ?? false)],
    [
      'Conditions',
      block(
        ...(status?.conditions ?? []).map(
          (c): Line => [c.type, [c.status, c.reason, c.message].filter(Boolean).join('  ')],
        ),
      ),
    ],
    ['Addresses', block(...(status?.addresses ?? []).map(({ type, address }): Line => [type, address]))],
    ['System Info', block(...Object.entries(status?.nodeInfo ?? {}).map(([key, value]): Line => [key, value]))],
    ['PodCIDR', spec?.podCIDR ?? '<none>'],
    ['PodCIDRs', (spec?.podCIDRs ?? []).join(',') || '<none>'],
    ['Pods', rows.trimEnd().split('\n')],
  );
}

function describeDeployment(deployment: Deployment): Block {
  const { metadata, spec, status } = deployment;
  const wanted = `${spec.replicas ?? 1} desired`;
  const { updatedReplicas = 0, replicas = 0, availableReplicas = 0, unavailableReplicas = 0 } = status ?? {};
  const counts = `${updatedReplicas} updated | ${replicas} total | ${availableReplicas} available | ${unavailableReplicas} unavailable`;
  return block(
    ...head(deployment),
    ['CreationTimestamp', printTime(metadata.creationTimestamp)],
    ['Selector', printSelector(spec.selector)],
    ['Replicas', `${wanted} | ${counts}`],
    ['StrategyType', spec.strategy?.type ?? 'RollingUpdate'],
    [
      'Pod Template',
      block(
        ['Labels', labelLines(spec.template.metadata?.labels)],
        ['Containers', block(...spec.template.spec.containers.map((c): Line => [c.name, block(['Image', c.image])]))],
      ),
    ],
    [
      'Conditions',
      block(...(status?.conditions ?? []).map((c): Line => [c.type, [c.status, c.reason].filter(Boolean).join('  ')])),
    ],
  );
}

/** The last packets of the pod that did not arrive; empty if there are none, or without root. */
async function dropsOf(pod: Pod): Promise<string> {
  if (pod.spec.hostNetwork || process.getuid?.() !== 0) return '';
  const [{ lastDropsOf }, { lastDropsText }] = await Promise.all([
    import('../sources/last-drops.ts'),
    import('../output/drops.ts'),
  ]);
  return lastDropsText(await lastDropsOf(pod), terminalOf()?.columns);
}

async function events(client: ApiClient, { kind, metadata }: KubeObject): Promise<string> {
  if (kind === 'Event') return '';
  const about = `involvedObject.kind=${kind},involvedObject.name=${metadata.name}`;
  const list = await client
    .list('Event', { namespace: metadata.namespace ?? 'default', fieldSelector: about })
    .catch((error: Error) => {
      throw failed(`events of ${metadata.name}: ${error.message}`);
    });
  const own = (list.items as EventObject[]).filter(
    ({ involvedObject }) => involvedObject.kind === kind && involvedObject.name === metadata.name,
  );
  if (own.length === 0) return 'Events:  <none>\n';
  own.sort((a, b) => Date.parse(a.lastTimestamp ?? '') - Date.parse(b.lastTimestamp ?? ''));
  const now = Date.now();
  const rows = own.map((event) => {
    const last = ageOf(event.lastTimestamp, now);
    const age = (event.count ?? 1) > 1 ? `${last} (x${event.count} over ${ageOf(event.firstTimestamp, now)})` : last;
    return [
      '',
      event.type ?? '',
      event.reason ?? '',
      age,
      event.source?.component ?? event.reportingComponent ?? '',
      (event.message ?? '').trim(),
    ];
  });
  const table = tableText(
    [['', 'Type', 'Reason', 'Age', 'From', 'Message'], ['', '----', '------', '---', '----', '-------'], ...rows],
    { separator: '  ' },
  );
  return `Events:\n${table}`;
}
