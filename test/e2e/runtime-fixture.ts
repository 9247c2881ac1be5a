/** A pod manager for tests, with one veth pair per pod as its network and a few maps as its API. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerRuntime } from '../../src/api/cluster-options.ts';
import type { ConfigMap, Pod, PodSpec, PodStatus } from '../../src/api/types/objects.ts';
import { cleanupAll } from '../../src/runtime/cleanup.ts';
import { execCommand } from '../../src/runtime/container/exec.ts';
import { PodManager, type PodManagerOptions } from '../../src/runtime/pod/manager.ts';

/** Distinguishes concurrent runs: the pid of the first process. */
export const RUN = process.env.DPRT_RUN ?? String(process.pid);
export const NAMESPACE = `dprt${RUN}`;
const NODE_IP = '10.199.0.1';

export const run = (file: string, ...args: string[]): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** Waits until `check` returns something other than undefined and false. */
export async function until<T>(what: string, check: () => T | undefined | false, timeoutMs = 10_000): Promise<T> {
  for (const end = Date.now() + timeoutMs; ; await sleep(10)) {
    const found = check();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`timed out: ${what}`);
  }
}

let lastVersion = 0;

export class RuntimeFixture {
  readonly stateDir: string;
  readonly configMaps = new Map<string, ConfigMap>();
  readonly pods = new Map<string, Pod>();
  readonly events: string[] = [];
  readonly attached: string[] = [];
  readonly deleted: string[] = [];
  /** Directories of the control group around those of the pods. */
  private groups: readonly string[] = [];
  manager!: PodManager;

  /** @param stateDir of another runtime, to take over its pods */
  constructor(stateDir = mkdtempSync('/run/dprt-')) {
    this.stateDir = stateDir;
    this.start();
  }

  start(more: Partial<PodManagerOptions> = {}): void {
    this.manager = new PodManager({
      nodeName: 'n1',
      nodeIP: NODE_IP,
      stateDir: this.stateDir,
      network: {
        attach: async ({ netnsName, podIP, name }) => {
          this.attached.push(name);
          // An earlier agent may have been killed halfway: every step may already be done.
          const port = `rt${podIP.split('.').at(-1)}`;
          if (!run('ip', '-n', netnsName, '-o', 'link').includes('eth0')) {
            run('ip', 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netnsName);
          }
          run('ip', '-n', netnsName, 'address', 'replace', `${podIP}/32`, 'dev', 'eth0');
          run('ip', '-n', netnsName, 'link', 'set', 'eth0', 'up');
          run('ip', '-n', netnsName, 'route', 'replace', NODE_IP, 'dev', 'eth0');
          run('ip', 'link', 'set', port, 'up');
          run('ip', 'route', 'replace', podIP, 'dev', port, 'src', NODE_IP);
        },
        detach: async ({ name }) => {
          this.attached.push(`-${name}`);
        },
      },
      getConfigMap: (_, name) => this.configMaps.get(name),
      getSecret: () => undefined,
      reportStatus: async (pod, status) => {
        const known = this.pods.get(pod.metadata.name);
        if (known?.metadata.uid === pod.metadata.uid) this.write({ ...known, status });
      },
      confirmDeleted: async (pod) => {
        this.deleted.push(pod.metadata.name);
        this.pods.delete(pod.metadata.name);
        this.sync();
      },
      recordEvent: (pod, _, reason, message) => this.events.push(`${pod.metadata.name} ${reason}: ${message}`),
      log: (message) => this.events.push(message),
      backOffMs: 300,
      containerRuntime: (process.env.DPRT_RUNTIME ?? 'launcher') as ContainerRuntime,
      ...more,
    });
    this.groups = this.manager.groups.directories();
    this.manager.adopt();
  }

  sync(): void {
    this.manager.sync([...this.pods.values()]);
  }

  pod(name: string, spec: Partial<PodSpec> & Pick<PodSpec, 'containers'>, uid = `uid-${name}`): void {
    const address = 2 + (lastVersion % 200);
    this.write({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        ...{ name, namespace: NAMESPACE, uid, resourceVersion: '' },
        creationTimestamp: new Date().toISOString(),
        annotations: { 'dataplane.dev/pod-ip': `10.199.1.${address}` },
      },
      spec: { nodeName: 'n1', terminationGracePeriodSeconds: 2, ...spec },
    });
    this.sync();
  }

  configMap(name: string, data: Record<string, string>): void {
    const metadata = {
      name,
      namespace: NAMESPACE,
      uid: name,
      creationTimestamp: '',
      resourceVersion: `${++lastVersion}`,
    };
    this.configMaps.set(name, { apiVersion: 'v1', kind: 'ConfigMap', metadata, data });
  }

  delete(name: string): void {
    const pod = this.pods.get(name)!;
    this.write({ ...pod, metadata: { ...pod.metadata, deletionTimestamp: new Date().toISOString() } });
    this.sync();
  }

  status(name: string): PodStatus {
    return this.pods.get(name)?.status ?? {};
  }

  container(pod: string, name: string) {
    const { containerStatuses = [], initContainerStatuses = [] } = this.status(pod);
    return [...containerStatuses, ...initContainerStatuses].find((c) => c.name === name);
  }

  isReady = (name: string): boolean =>
    this.status(name).conditions?.find(({ type }) => type === 'Ready')?.status === 'True';

  ready(name: string, timeoutMs?: number): Promise<unknown> {
    return until(`${name} ready`, () => this.isReady(name), timeoutMs).catch((error: Error) => {
      throw new Error(`${error.message}\n${JSON.stringify(this.status(name), null, 1)}\n${this.events.join('\n')}`);
    });
  }

  exec(pod: string, container: string, ...command: string[]): string {
    const { stateDir } = this;
    const { file, args } = execCommand({ stateDir, namespace: NAMESPACE, pod, container, command });
    return run(file, ...args);
  }

  log(pod: string, container: string): string {
    return readFileSync(`${this.stateDir}/pods/${NAMESPACE}_${pod}/${container}.log`, 'utf8');
  }

  get(pod: string, port = 80): string {
    return run('curl', '-sS', '-m', '3', `http://${this.status(pod).podIP}:${port}/`);
  }

  pausePid(pod: string): number {
    return JSON.parse(readFileSync(`${this.stateDir}/pods/${NAMESPACE}_${pod}/state.json`, 'utf8')).pause.pid;
  }

  mainPid(pod: string, container: string): number {
    const state = readFileSync(`${this.stateDir}/pods/${NAMESPACE}_${pod}/state.json`, 'utf8');
    return JSON.parse(state).containers[container].process.main.pid;
  }

  private write(pod: Pod): void {
    this.pods.set(pod.metadata.name, { ...pod, metadata: { ...pod.metadata, resourceVersion: `${++lastVersion}` } });
  }

  /** What a pod left behind on this machine. */
  leftovers(): string[] {
    const processes = readdirSync('/proc').flatMap((pid) => {
      try {
        const args = Number(pid) > 0 ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') : '';
        return args.includes(this.stateDir) ? [`process ${pid}: ${args}`] : [];
      } catch {
        return [];
      }
    });
    const mounts = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.stateDir));
    const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
    const pods = existsSync(`${this.stateDir}/pods`) ? readdirSync(`${this.stateDir}/pods`) : [];
    return [
      ...this.leftGroups(),
      ...processes,
      ...mounts,
      ...namespaces.filter((name) => name.startsWith(`dp-pod-${NAMESPACE}-`)),
      ...pods,
    ];
  }

  /** Control groups of pods; once the runtime is closed, also the group around them. */
  private leftGroups(): string[] {
    return this.groups.filter(existsSync).flatMap((directory) => {
      const pods = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
      return existsSync(this.stateDir) ? pods.map(({ name }) => `${directory}/${name}`) : [directory];
    });
  }

  async close(): Promise<void> {
    await this.manager.close({ keepPods: false });
    await cleanupAll(this.stateDir);
    run('rm', '-rf', this.stateDir);
  }
}

const NGINX_CONF = `user nginx;
error_log /var/log/nginx/error.log warn;
pid /var/run/nginx.pid;
events { worker_connections 64; }
http {
  include /etc/nginx/mime.types;
  server { listen 80; location / { proxy_pass http://127.0.0.1:5000; } }
}
`;

/** The pod of most tests: a web server behind nginx. */
export const mc3 = (runtime: RuntimeFixture): void => {
  runtime.configMap('mc3-conf', { 'nginx.conf': NGINX_CONF });
  runtime.pod('mc3', {
    containers: [
      { name: 'webapp', image: 'training/webapp' },
      {
        name: 'nginx',
        image: 'nginx:alpine',
        ports: [{ name: 'http', containerPort: 80 }],
        volumeMounts: [{ name: 'conf', mountPath: '/etc/nginx/nginx.conf', subPath: 'nginx.conf' }],
        readinessProbe: { httpGet: { path: '/', port: 'http' } },
      },
    ],
    volumes: [{ name: 'conf', configMap: { name: 'mc3-conf' } }],
  });
};

/** The result of `work`; undefined if it throws. */
export function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
