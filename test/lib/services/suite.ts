/**
 * A suite of service tests, all in one cluster that is brought up before the first and taken down after the last.
 *
 *   const { test, cluster, s } = await serviceSuite('addresses', { manifests: PODS });
 *   test('…', …);
 *   test.run();
 */
import { suite, type Test } from 'uvu';
import { type Cluster, type ClusterOptions, startCluster } from '../cluster.ts';
import { echoPod, idlePod, NODE_IPS, podNetns, Services } from './services.ts';

export const [N1, N2] = [NODE_IPS.n1 as string, NODE_IPS.n2 as string];

const serve = ['tcp:80', 'tcp:81', 'udp:80'];

/**
 * Endpoints of `web` on either node, the first of which is `only=web-1`, one of `other`, and a client on either node.
 */
export const PODS: readonly object[] = [
  echoPod('web-1', 'n1', 'web', { serve, labels: { only: 'web-1' } }),
  echoPod('web-2', 'n2', 'web', { serve }),
  echoPod('other', 'n2', 'other'),
  idlePod('client-1', 'n1'),
  idlePod('client-2', 'n2'),
];
export const WEB = ['web-1', 'web-2'];
export const [CLIENT_1, CLIENT_2] = [podNetns('client-1'), podNetns('client-2')];

/**
 * Objects that a test creates through `s` are deleted after it. The cluster is brought up here and not in
 * `test.before`, whose errors uvu does not report.
 */
export async function serviceSuite(
  name: string,
  options: ClusterOptions,
): Promise<{ test: Test; cluster: Cluster; s: Services }> {
  const cluster = await startCluster(options);
  const s = new Services(cluster);
  const test = suite(`services: ${name}`);
  test.after.each(() => s.cleanUp());
  test.after(async () => {
    s.api.close();
    await cluster.down();
  });
  return { test, cluster, s };
}
