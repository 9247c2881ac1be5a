/**
 * stern follows the logs of many pods, and k9s shows a cluster in a terminal, both as their users run them. STERN, K9S: the
 * programs; k9s also needs tmux, which is the terminal whose screen is read.
 */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ClientHome, clientTest, someClient } from '../../lib/client-program.ts';
import { type Cluster, eventually, startCluster } from '../../lib/cluster.ts';

const COUNTER = 'i=0; while :; do i=$((i+1)); echo main $i; sleep 0.2; done';
const JSON_LINES = `while :; do echo '{"level":"warn"}'; sleep 0.2; done`;
const labels = { app: 'talk' };
const talk = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'talk', namespace: 'default' },
  spec: {
    replicas: 2,
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: {
        terminationGracePeriodSeconds: 1,
        initContainers: [{ name: 'prepare', image: 'busybox', command: ['echo', 'prepared'] }],
        containers: [
          { name: 'main', image: 'busybox', command: ['sh', '-c', COUNTER] },
          { name: 'side', image: 'busybox', command: ['sh', '-c', JSON_LINES] },
        ],
      },
    },
  },
};
const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'talk', namespace: 'default' },
  spec: { selector: labels, ports: [{ port: 80 }] },
};

let cluster: Cluster;
let home: ClientHome;
test.before(async () => {
  if (!someClient('STERN', 'K9S')) return;
  home = new ClientHome();
  cluster = await startCluster({ manifests: [talk, service] });
});
test.after(async () => {
  home?.remove();
  await cluster?.down();
});

const sternTest = (name: string, body: (stern: (...words: string[]) => Promise<string[]>) => Promise<void>) =>
  clientTest(test, 'STERN', `stern: ${name}`, (program) =>
    body(async (...words) => {
      const text = await home.run([program, '--color', 'never', '--no-follow', ...words]);
      return text.trim().split('\n').sort();
    }),
  );

const podNames = async () => (await cluster.get<{ items: { metadata: { name: string } }[] }>('pods')).items;

sternTest('pods by pattern, label, owner and Service; containers by filter', async (stern) => {
  const pods = (await podNames()).map(({ metadata }) => metadata.name).sort();
  const last = ['--tail', '1', '--only-log-lines'];
  const all = await eventually(async () => {
    const lines = await stern('talk', ...last);
    return lines.length >= 6 ? lines : undefined; // Every container has written something.
  });
  assert.equal(
    all.map((line) => line.split(' ').slice(0, 2).join(' ')),
    pods.flatMap((pod) => [`${pod} main`, `${pod} prepare`, `${pod} side`]),
  );
  for (const which of [['.', '-l', 'app=talk'], ['deployment/talk'], ['service/talk'], ['replicaset/talk-.*']]) {
    if (which[0]!.startsWith('replicaset')) which[0] = `replicaset/${pods[0]!.replace(/-[^-]*$/, '')}`;
    const lines = await stern(...which, '-c', 'main', ...last);
    assert.equal(
      lines.map((line) => line.split(' ')[0]),
      pods,
      which.join(' '),
    );
    for (const line of lines) assert.match(line, /^talk-\S+ main main \d+$/);
  }
  const running = await stern('talk', '--exclude-container', 'side', '--container-state', 'running', ...last);
  assert.is(running.length, 2);
});

sternTest('-o json, --since, --include and a template', async (stern) => {
  const [line = ''] = await stern('talk', '-c', 'main', '--tail', '1', '-o', 'json', '--only-log-lines');
  const { message, nodeName, namespace, podName, containerName } = JSON.parse(line) as Record<string, string>;
  assert.match(message!, /^main \d+\n?$/);
  assert.match(`${nodeName} ${namespace} ${podName} ${containerName}`, /^n[12] default talk-\S+ main$/);
  await eventually(async () => {
    const all = await stern('talk', '-c', 'main', '--only-log-lines');
    const recent = await stern('talk', '-c', 'main', '--since', '1s', '--only-log-lines');
    return (recent.length >= 4 && recent.length < all.length) || undefined;
  });
  const tens = await stern('talk', '-c', 'main', '--include', '[05]$', '--only-log-lines');
  for (const each of tens) assert.match(each, /[05]$/);
  const template = '{{with $m := .Message | parseJSON}}{{$m.level}}{{end}}{{"\\n"}}';
  const words = ['talk', '-c', 'side', '--tail', '1', '--only-log-lines', '--template', template];
  assert.equal(await stern(...words), ['warn', 'warn']);
});

clientTest(test, 'STERN', 'stern: pods that come and go are followed while it runs', async (program) => {
  const words = ['--color', 'never', '--tail', '0', '-c', 'main', 'talk'];
  const child = spawn(program, words, { env: { ...process.env, ...home.env } });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  const count = (pattern: RegExp) => [...text.matchAll(pattern)].length;
  const seen = (pattern: RegExp, wanted: number) => eventually(async () => count(pattern) >= wanted || undefined);
  try {
    await seen(/^\+ talk-/gm, 2);
    await cluster.apply({ ...talk, spec: { ...talk.spec, replicas: 3 } });
    await seen(/^\+ talk-/gm, 3);
    const newest = [...text.matchAll(/^\+ (talk-\S+)/gm)].at(-1)![1]!;
    await seen(new RegExp(`^${newest} main main \\d+$`, 'gm'), 1);
    await cluster.apply(talk);
    await seen(/^- talk-/gm, 1);
  } finally {
    child.kill();
  }
});

/** A program in a terminal of its own, whose screen can be read. */
class Screen {
  private readonly socket: string;

  constructor(program: string) {
    this.socket = join(home.path, 'tmux.sock');
    const variables = Object.entries({ ...home.env, TERM: 'screen-256color' }).map(
      ([name, value]) => `${name}=${value}`,
    );
    this.tmux('new-session', '-d', '-x', '160', '-y', '40', 'env', ...variables, program);
  }

  text(): string {
    return this.tmux('capture-pane', '-p');
  }

  /** Types keys by tmux's names. */
  type(...keys: string[]): void {
    for (const key of keys) this.tmux('send-keys', key);
  }

  /** Waits until the screen shows all of these. */
  async shows(...patterns: RegExp[]): Promise<string> {
    try {
      return await eventually(async () => {
        const text = this.text();
        return patterns.every((pattern) => pattern.test(text)) ? text : undefined;
      }, 15_000);
    } catch {
      throw new Error(`the screen does not show ${patterns.join(' and ')}:\n${this.text()}`);
    }
  }

  close(): void {
    spawnSync('tmux', ['-S', this.socket, 'kill-server']);
  }

  private tmux(...words: string[]): string {
    const { stdout, stderr, status } = spawnSync('tmux', ['-S', this.socket, '-f', '/dev/null', ...words]);
    if (status !== 0) throw new Error(`tmux ${words[0]}: ${stderr}`);
    return stdout.toString();
  }
}

const noTmux = spawnSync('tmux', ['-V']).error !== undefined;
if (noTmux && process.env.K9S) console.log('skipped: k9s: there is no tmux');

clientTest(
  noTmux ? Object.assign((...args: Parameters<typeof test.skip>) => test.skip(...args), { skip: test.skip }) : test,
  'K9S',
  'k9s: pods, their YAML, description and logs; scaling; Services, nodes and events',
  async (program) => {
    const screen = new Screen(program);
    const command = (line: string) => screen.type(':', ...line, 'Enter');
    const back = () => {
      screen.type('Escape');
      return screen.shows(/pods\(default\)\[2\]/);
    };
    try {
      const row = 'talk-\\S+ +● +2/2 +Running +0 .*10\\.244\\.\\d\\.\\d+ +n\\d';
      await screen.shows(/K8s Rev: v1\.34/, /pods\(default\)\[2\]/, new RegExp(`(${row}[^]*){2}`));
      screen.type('y');
      await screen.shows(/apiVersion: v1/, /generateName: talk-/);
      await back();
      screen.type('d');
      await screen.shows(/Controlled By: +ReplicaSet\/talk-/, /Init Containers:/);
      await back();
      screen.type('l');
      await screen.shows(/main main \d+|side \{"level":"warn"\}/, /Autoscroll:On/);
      await back();

      command('deployments');
      await screen.shows(/talk +2\/2 +2 +2/);
      screen.type('s');
      await screen.shows(/Scale deployment default\/talk\?/, /Replicas: 2/);
      screen.type('BSpace', '3', 'Tab', 'Enter');
      await screen.shows(/talk +3\/3 +3 +3/);
      command('svc');
      await screen.shows(/talk +ClusterIP +10\.96\.\d+\.\d+ +80►0/, /kubernetes +ClusterIP +10\.96\.0\.1 +https:443►0/);
      command('nodes');
      await screen.shows(/n1 +Ready .*v1\.34\.0\+dataplane/, /n2 +Ready .*v1\.34\.0\+dataplane/);
      command('events');
      await screen.shows(/Normal +ScalingReplicaSet +deployment\/talk .*deployment-controller/);
      await screen.shows(/Normal +Started +pod\/talk-\S+ +spec\.containers\{main\} +kubelet, n\d/);
      command('pods');
      await screen.shows(/pods\(default\)\[3\]/);
      screen.type('C-d');
      await screen.shows(/Delete pod/);
      screen.type('Tab', 'Enter');
      // Its successor has been running for less than a minute.
      await screen.shows(/talk-\S+ .*Running .* \d{1,2}s/, /pods\(default\)\[3\]/);
    } finally {
      screen.close();
    }
  },
);

test.run();
