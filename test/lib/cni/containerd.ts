/**
 * containerd with runc in a node's namespace, driven by ctr and by crictl, as kubelet drives it. It runs in the test's private
 * mount namespace, with its own state; the plugin and its configuration are where they are by default.
 *
 * The programs are Debian's (containerd, runc), and crictl from the Go module proxy (sigs.k8s.io/cri-tools/cmd/crictl).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CNI_BIN_DIR, CNI_CONFIG_DIR, type CniDirectories } from '../../../src/agent/cni/installation.ts';
import { removeTree } from '../../../src/linux/cgroup/cgroups.ts';
import { eventually, nodeNetns, output, type Ran, run } from '../cluster.ts';
import { dockerArchive, tar } from '../images/make-image.ts';

/** The image of sandboxes and of containers: a static busybox. */
export const IMAGE = 'dataplane.test/busybox:1';
/** containerd's namespaces: ctr's and that of pods. Their containers' groups have these names too. */
const NAMESPACES = ['default', 'k8s.io'];
const HIERARCHIES = '/sys/fs/cgroup';
const GONE_MS = 10_000;
const BUSYBOX = '/usr/bin/busybox';
/** containerd before 2.0 sets lo up by this plugin. */
const LOOPBACK = '/usr/lib/cni/loopback';

const hasProgram = (name: string): boolean => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0;

/** Why containerd cannot be tried here; undefined if it can. */
export function whyNoContainerd(): string | undefined {
  const missing = ['containerd', 'ctr', 'runc'].filter((name) => !hasProgram(name));
  if (missing.length > 0) return `${missing.join(', ')}: not installed`;
  if (!existsSync(BUSYBOX) || !existsSync(LOOPBACK)) return `${BUSYBOX} or ${LOOPBACK} is not there`;
  return undefined;
}

/** Programs write to /etc and /opt: to what is above them in this mount namespace. */
export function coverDirectories(work: string, ...directories: readonly string[]): void {
  for (const directory of directories) {
    const [upper, under] = ['upper', 'work'].map((part) => join(work, `${part}${directory.replaceAll('/', '-')}`));
    for (const made of [upper, under]) mkdirSync(made as string, { recursive: true });
    const options = `lowerdir=${directory},upperdir=${upper},workdir=${under}`;
    const { status, stderr } = spawnSync('mount', ['-t', 'overlay', 'overlay', '-o', options, directory]);
    if (status !== 0) throw new Error(`overlay over ${directory}: ${stderr}`);
  }
}

/** Where containerd finds plugins and their configurations. */
const DEFAULT_CNI: CniDirectories = { configuration: CNI_CONFIG_DIR, programs: CNI_BIN_DIR };

export class Containerd {
  /** Of its API. */
  readonly socket: string;
  private readonly directory: string;
  private readonly node: string;
  private readonly cni: CniDirectories;
  private daemon: ChildProcess | undefined;
  log = '';

  /** @param directory its own files */
  constructor(directory: string, node: string, cni: CniDirectories = DEFAULT_CNI) {
    this.directory = directory;
    this.node = node;
    this.cni = cni;
    this.socket = join(directory, 'containerd.sock');
  }

  async start(): Promise<void> {
    mkdirSync(this.directory, { recursive: true });
    const { configuration, programs } = this.cni;
    mkdirSync(programs, { recursive: true });
    rmSync(join(programs, 'loopback'), { force: true });
    symlinkSync(LOOPBACK, join(programs, 'loopback'));
    const config = join(this.directory, 'config.toml');
    writeFileSync(
      config,
      `version = 2
root = "${this.directory}/root"
state = "${this.directory}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "${this.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${programs}"
    conf_dir = "${configuration}"
`,
    );
    const daemon = spawn('nsenter', [`--net=/run/netns/${nodeNetns(this.node)}`, 'containerd', '--config', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [daemon.stdout, daemon.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
      });
    }
    this.daemon = daemon;
    await eventually(async () => ((await this.ctr('version')).status === 0 ? true : undefined), 30_000);
    await this.importImage();
  }

  /** Import an image that has this program as `/bin/NAME` and runs it. */
  async importProgram(image: string, path: string): Promise<void> {
    const name = `bin/${basename(path)}`;
    const layer = await tar([
      { name: 'bin/', type: 'directory' },
      { name, content: readFileSync(path) },
    ]);
    await this.importArchive([layer], { Entrypoint: [`/${name}`] }, image);
  }

  private async importImage(): Promise<void> {
    const layer = await tar([
      { name: 'bin/', type: 'directory' },
      { name: 'bin/busybox', content: readFileSync(BUSYBOX) },
      ...['sh', 'sleep', 'httpd', 'wget'].map((name) => ({
        name: `bin/${name}`,
        type: 'symlink' as const,
        linkname: 'busybox',
      })),
      ...['etc/', 'proc/', 'sys/', 'dev/', 'tmp/'].map((name) => ({ name, type: 'directory' as const })),
    ]);
    const config = { Cmd: ['/bin/sleep', '1000000'], Env: ['PATH=/bin'] };
    await this.importArchive([layer], config, IMAGE);
  }

  private async importArchive(layers: Buffer[], config: Record<string, unknown>, name: string): Promise<void> {
    const archive = join(this.directory, 'image.tar');
    writeFileSync(archive, await dockerArchive([{ layers, config, names: [name] }]));
    for (const namespace of NAMESPACES) await output(this.ctr('-n', namespace, 'images', 'import', archive));
    rmSync(archive);
  }

  ctr(...args: readonly string[]): Promise<Ran> {
    return this.inNode('ctr', '-a', this.socket, ...args);
  }

  crictl(program: string, ...args: readonly string[]): Promise<Ran> {
    return this.inNode(program, '--runtime-endpoint', `unix://${this.socket}`, '--timeout', '30s', ...args);
  }

  private inNode(...command: readonly string[]): Promise<Ran> {
    return run(['nsenter', `--net=/run/netns/${nodeNetns(this.node)}`, ...command]);
  }

  /** Everything of it ends. The containers' groups are in the hierarchies of the machine. */
  async stop(): Promise<void> {
    const { daemon } = this;
    if (daemon?.exitCode === null && daemon.signalCode === null) {
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGKILL');
      await ended;
    }
    for (const hierarchy of ['.', ...readdirSync(HIERARCHIES)]) {
      const groups = NAMESPACES.map((name) => join(HIERARCHIES, hierarchy, name));
      for (const group of groups.filter(existsSync)) await removeTree(group, Date.now() + GONE_MS);
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
