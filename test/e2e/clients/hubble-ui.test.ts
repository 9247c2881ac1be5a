/** Hubble UI, whose backend reads flows from `dataplane observe --serve`, and namespaces from the API. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clientTest, someClient } from '../../lib/client-program.ts';
import { type Cluster, eventually } from '../../lib/cluster.ts';
import {
  CONTROL,
  eventsOf,
  HubbleUiStream,
  type UiControl,
  type UiEvent,
  type UiNotification,
  UiVerdict,
} from '../../lib/hubble-ui.ts';
import { RunningCommand } from '../../lib/running-command.ts';
import { CLIENT, startWebAndClient } from '../../lib/web-and-client.ts';

const DENY = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'deny-all', namespace: 'default' },
  spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] },
};

const test = suite('hubble ui');
let cluster: Cluster;

test.before(async () => {
  if (someClient('HUBBLE_UI')) cluster = await startWebAndClient("(q, r) => r.end('page')");
});
test.after(async () => {
  await cluster?.down();
});

// HUBBLE_UI: the backend of Hubble UI (github.com/cilium/hubble-ui, folder backend), built outside this repository.
clientTest(
  test,
  'HUBBLE_UI',
  "Hubble UI's backend shows namespaces, nodes, flows, the links between pods, and drops live",
  async (program) => {
    const [relay, port] = ['localhost:42450', '18090'];
    const home = mkdtempSync(join(tmpdir(), 'hubble-ui-'));
    mkdirSync(join(home, '.kube'));
    writeFileSync(join(home, '.kube/config'), await cluster.cli('kubeconfig'));
    const server = new RunningCommand('observe', '--serve', relay);
    await server.started(/^serving the flows/m);
    const env = {
      ...process.env,
      HOME: home,
      FLOWS_API_ADDR: relay,
      EVENTS_SERVER_PORT: port,
      KUBERNETES_SERVICE_HOST: '',
    };
    const backend = spawn(program, { env, stdio: 'ignore' });
    try {
      const origin = `http://127.0.0.1:${port}`;
      const first = new HubbleUiStream<UiControl>(origin, CONTROL);
      const [namespaces, nodes] = [new Set<string>(), new Map<string, number>()];
      const takeNodes = ({ status }: UiNotification) => {
        for (const { name, state } of status?.nodes.nodes ?? []) nodes.set(name, state);
      };
      await eventually(async () => {
        const control = await first.poll().catch((error: Error) => {
          // Until it listens.
          if (backend.exitCode !== null) throw error;
          return undefined;
        });
        for (const { namespace } of control?.namespaces?.namespaces ?? []) namespaces.add(namespace.name);
        takeNodes(control?.notification ?? {});
        return (namespaces.has('default') && nodes.size === 2) || undefined;
      }, 30_000);
      assert.equal(
        [...nodes].sort(),
        [
          ['n1', 1],
          ['n2', 1],
        ],
        'both are connected',
      );

      const map = new HubbleUiStream<{ events: readonly UiEvent[] }>(origin, eventsOf('default'));
      const [names, verdicts] = [new Map<string, string>(), new Set<number>()];
      const links = new Map<string, NonNullable<UiEvent['link']>['link']>();
      const drawn = () =>
        [...links.values()].map(
          (one) => `${names.get(one.sourceId)} > ${names.get(one.destinationId)}:${one.destinationPort} ${one.verdict}`,
        );
      const expected = `default/client > default/web:8080 ${UiVerdict.FORWARDED}`;
      await eventually(async () => {
        await cluster.fetch(CLIENT, 'http://10.96.4.1/');
        for (let message = await map.poll(); message !== undefined; message = await map.poll()) {
          for (const { service, link, flows } of message.events) {
            if (service) names.set(service.service.id, `${service.service.namespace}/${service.service.name}`);
            for (const { verdict } of flows?.flows ?? []) verdicts.add(verdict);
            if (link)
              links.set(
                JSON.stringify([link.link.sourceId, link.link.destinationId, link.link.destinationPort]),
                link.link,
              );
          }
        }
        return (drawn().includes(expected) && verdicts.has(UiVerdict.FORWARDED)) || undefined;
      }, 60_000).catch((error: Error) => {
        throw new Error(`${error.message}: ${drawn().join(', ')}; verdicts ${[...verdicts]}`);
      });
      const replies = drawn().filter((link) => link.startsWith('default/web > default/client'));
      assert.equal(replies, [], 'a reply is not a link of its own');

      // As the page's filter "Verdict: dropped". Drops to a Service without endpoints are left out by the backend itself.
      await cluster.apply(DENY);
      const drops = new HubbleUiStream<{ events: readonly UiEvent[] }>(origin, eventsOf('default', UiVerdict.DROPPED));
      const dropped: { verdict: number; nodeName: string; dropReason: number }[] = [];
      await eventually(async () => {
        await cluster.exec(CLIENT, ['curl', '-s', '-m1', 'http://10.96.4.1/']);
        for (let message = await drops.poll(); message !== undefined; message = await drops.poll()) {
          for (const { flows } of message.events) dropped.push(...(flows?.flows ?? []));
        }
        return dropped.some(({ dropReason }) => dropReason > 0) || undefined;
      }, 60_000);
      assert.equal([...new Set(dropped.map(({ verdict }) => verdict))], [UiVerdict.DROPPED]);
      const drop = dropped.find(({ dropReason }) => dropReason > 0);
      assert.equal([drop?.nodeName, drop?.dropReason], ['n1', 133], 'policy denied, by the node of the receiver');
    } finally {
      backend.kill();
      await server.stop();
      rmSync(home, { recursive: true });
    }
  },
);

test.run();
