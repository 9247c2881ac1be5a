/**
 * Pods of images in a cluster of two nodes: behind a Service, from everywhere, and gone with the cluster. One image is
 * made by the test itself; the others are built by umoci and buildah, which the environment names (UMOCI, BUILDAH; GO
 * and BUSYBOX name a Go toolchain and a static busybox).
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { STATE_DIR } from '../../src/cluster/state.ts';
import { PodGroups } from '../../src/runtime/pod/groups.ts';
import { eventually, nodeNetns, podNetns, startCluster } from '../lib/cluster.ts';
import { buildWithBuildah, buildWithUmoci, type Recipe } from '../lib/images/build-image.ts';
import { dockerArchive, type Entry, hostPrograms, tar } from '../lib/images/make-image.ts';
import { leftovers } from '../lib/leftovers.ts';
import { ECHO, idlePod, OUTSIDE } from '../lib/services/services.ts';
import { testUnless } from '../lib/test-unless.ts';

const work = mkdtempSync('/run/dp-image-pods-');
process.env.DATAPLANE_IMAGES = join(work, 'store');
const cluster = await startCluster({
  args: ['--nodes', '2'],
  manifests: [idlePod('client-1', 'n1'), idlePod('client-2', 'n2')],
});
const test = suite('image pods');
test.after(async () => {
  await cluster.down();
  rmSync(work, { recursive: true, force: true });
});

const label = (name: string, node: string) => `${name}-${node}`;

/** A pod of the image on either node, behind a Service of the same name. */
function manifests(name: string, more: object = {}, spec: object = {}): object[] {
  const pods = ['n1', 'n2'].map((nodeName) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: label(name, nodeName), labels: { app: name } },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          ...{ name: 'main', image: `${name}:1`, imagePullPolicy: 'Never' },
          readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1, timeoutSeconds: 5 },
          ...more,
        },
      ],
      ...spec,
    },
  }));
  const ports = [{ port: 8080, targetPort: 80 }];
  const metadata = { name };
  return [
    ...pods,
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { type: 'NodePort', selector: { app: name }, ports } },
  ];
}

interface Placed {
  clusterIP: string;
  nodePort: number;
}

async function started(name: string, ...objects: object[]): Promise<Placed> {
  await cluster.apply(...objects);
  for (const node of ['n1', 'n2']) {
    await eventually(async () => {
      const { status } = await cluster.get<{ status: { conditions?: { type: string; status: string }[] } }>(
        'pod',
        label(name, node),
      );
      return status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') || undefined;
    }, 40_000);
  }
  const { spec } = await cluster.get<{ spec: { clusterIP: string; ports: { nodePort: number }[] } }>('service', name);
  return { clusterIP: spec.clusterIP, nodePort: spec.ports[0]!.nodePort };
}

/** The page, from pods on both nodes by the Service's address, and from outside by the port of either node. */
async function assertServed({ clusterIP, nodePort }: Placed, page: string): Promise<void> {
  const places: [string, string][] = [
    [podNetns('client-1'), `${clusterIP}:8080`],
    [podNetns('client-2'), `${clusterIP}:8080`],
    [OUTSIDE, `172.18.0.11:${nodePort}`],
    [OUTSIDE, `172.18.0.12:${nodePort}`],
  ];
  for (const [netns, place] of places) {
    for (let i = 0; i < 4; i++)
      assert.match(await cluster.fetch(netns, `http://${place}/`), page, `${place} from ${netns}`);
  }
}

const filesOf = (entries: readonly Entry[]): Map<string, Buffer> =>
  new Map(entries.map(({ name, content }) => [name, Buffer.from(content ?? '')]));

const NGINX_CONF = `daemon off; user root; pid /run/nginx.pid; error_log /dev/stderr; events {}
http { access_log /dev/stdout; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
server { listen 80; location / { return 200 "nginx from an image\\n"; } } }
`;
const ACCOUNTS: [string, Buffer][] = [
  ['etc/passwd', Buffer.from('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n')],
  ['etc/group', Buffer.from('root:x:0:\nnogroup:x:65534:\n')],
];

test('an image made by hand: a pod on either node behind a Service, from pods, nodes and outside', async () => {
  const nginx: Entry[] = [
    ...hostPrograms({ '/usr/sbin/nginx': '/usr/sbin/nginx' }),
    { name: 'etc/nginx/nginx.conf', content: NGINX_CONF },
    ...ACCOUNTS.map(([name, content]) => ({ name, content })),
    ...['tmp/', 'run/', 'var/log/nginx/', 'var/lib/nginx/'].map((name): Entry => ({ name, type: 'directory' })),
  ];
  const file = join(work, 'made.tar');
  const config = { Entrypoint: ['/usr/sbin/nginx', '-c', '/etc/nginx/nginx.conf'], Env: ['PATH=/usr/sbin'] };
  writeFileSync(file, await dockerArchive([{ names: ['made:1'], layers: [await tar(nginx)], config }]));
  await cluster.cli('image', 'load', file);
  const placed = await started('made', ...manifests('made', { resources: { limits: { memory: '64Mi' } } }));
  await assertServed(placed, 'nginx from an image');
  assert.match(await cluster.fetch(nodeNetns('n1'), `http://${placed.clusterIP}:8080/`), 'nginx from an image');
  assert.match(await cluster.cli('logs', 'made-n1'), 'GET / HTTP');
  await cluster.cli('restart', 'made-n1');
  await assertServed(placed, 'nginx from an image');
});

const { UMOCI, BUILDAH, GO, BUSYBOX } = process.env;

/** Skips with the reason where one of the programs is not named. */
function withPrograms(name: string, needed: Record<string, string | undefined>, body: () => Promise<void>): void {
  const missing = Object.keys(needed).filter((variable) => !needed[variable]);
  testUnless(missing.length === 0 ? undefined : `${name}: ${missing.join(' and ')} not set`, test)(name, body);
}

async function runBuilt(recipe: Recipe, built: string, page: string): Promise<void> {
  const name = `${recipe.name}:1`;
  await cluster.cli('image', 'load', '--name', name, built);
  await assertServed(await started(recipe.name, ...manifests(recipe.name)), page);
}

withPrograms('nginx, built by buildah', { BUILDAH }, async () => {
  const files = new Map([
    ...filesOf(hostPrograms({ '/usr/sbin/nginx': '/usr/sbin/nginx' })),
    ['etc/nginx/nginx.conf', Buffer.from(NGINX_CONF)] as const,
    ...ACCOUNTS,
  ]);
  const directories = ['tmp', 'run', 'var/log/nginx', 'var/lib/nginx'];
  const recipe = {
    name: 'nginx-built',
    files,
    directories,
    command: ['/usr/sbin/nginx', '-c', '/etc/nginx/nginx.conf'],
  };
  await runBuilt(recipe, buildWithBuildah(BUILDAH!, work, recipe), 'nginx from an image');
});

/** Without net/http, which takes minutes to compile on a busy machine. */
const GO_SERVER = `package main
import ("net"; "os"; "strconv")
func main() {
  name, _ := os.Hostname()
  page := "go on " + name + " as " + strconv.Itoa(os.Getuid()) + "\\n"
  listener, err := net.Listen("tcp", ":80")
  if err != nil { panic(err) }
  for {
    connection, err := listener.Accept()
    if err != nil { continue }
    go func() {
      defer connection.Close()
      connection.Read(make([]byte, 4096))
      connection.Write([]byte("HTTP/1.0 200 OK\\r\\nContent-Length: " + strconv.Itoa(len(page)) + "\\r\\n\\r\\n" + page))
    }()
  }
}
`;

withPrograms(
  'a static Go program as another user, nothing else in the image, built by umoci',
  { UMOCI, GO },
  async () => {
    const source = join(work, 'go');
    mkdirSync(source);
    writeFileSync(join(source, 'main.go'), GO_SERVER);
    writeFileSync(join(source, 'go.mod'), 'module server\n\ngo 1.20\n');
    const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod' };
    execFileSync(GO!, ['build', '-trimpath', '-o', 'server', '.'], { cwd: source, env, stdio: 'pipe' });
    const files = new Map([['bin/server', readFileSync(join(source, 'server'))]]);
    const recipe = { name: 'go', files, command: ['/bin/server'], user: '1000:1000' };
    await runBuilt(recipe, buildWithUmoci(UMOCI!, work, recipe), 'as 1000');
  },
);

withPrograms('python, built by umoci', { UMOCI }, async () => {
  const python = realpathSync('/usr/bin/python3');
  const version = /python3\.\d+$/.exec(python)![0];
  const library = join(work, version);
  execFileSync('cp', ['-a', `/usr/lib/${version}`, library]);
  for (const unused of ['test', 'idlelib', 'ensurepip', 'lib2to3'])
    rmSync(join(library, unused), { recursive: true, force: true });
  const files = new Map([
    ...filesOf(hostPrograms({ [`/usr/bin/${version}`]: python })),
    ['srv/index.html', Buffer.from('python from an image\n')] as const,
  ]);
  const recipe = {
    ...{ name: 'python', files, trees: { [`usr/lib/${version}`]: library } },
    command: [`/usr/bin/${version}`, '-m', 'http.server', '80', '--directory', '/srv'],
  };
  await runBuilt(recipe, buildWithUmoci(UMOCI!, work, recipe), 'python from an image');
});

withPrograms('busybox with its shell, built by buildah', { BUILDAH, BUSYBOX }, async () => {
  const files = new Map([
    ['bin/busybox', readFileSync(BUSYBOX!)],
    ['www/index.html', Buffer.from('busybox from an image\n')],
  ]);
  const recipe = {
    name: 'busybox-built',
    files,
    command: ['/bin/busybox', 'sh', '-c', 'exec /bin/busybox httpd -f -p 80 -h /www'],
  };
  await runBuilt(recipe, buildWithBuildah(BUILDAH!, work, recipe), 'busybox from an image');
  assert.match(
    await cluster.cli('exec', 'busybox-built-n1', '--', '/bin/busybox', 'sh', '-c', 'echo $((6 * 7))'),
    '42',
  );
});

test('pods with hostNetwork behind a Service: reached from the other node and from outside at the node’s address', async () => {
  const container = { image: 'process', imagePullPolicy: 'IfNotPresent', command: [...ECHO, 'tcp:7080', 'name=host'] };
  const probe = { readinessProbe: { tcpSocket: { port: 7080 }, periodSeconds: 1, timeoutSeconds: 5 } };
  const [one, two, service] = manifests('host', { ...container, ...probe }, { hostNetwork: true }) as [
    object,
    object,
    { spec: object },
  ];
  const ports = [{ port: 8080, targetPort: 7080 }];
  const placed = await started('host', one, two, { ...service, spec: { ...service.spec, ports } });
  const { status } = await cluster.get<{ status: { podIP: string; hostIP: string } }>('pod', 'host-n2');
  assert.equal([status.podIP, status.hostIP], ['172.18.0.12', '172.18.0.12']);
  await assertServed(placed, 'host ');
});

test('down with pods of images running leaves nothing: no process, mount, namespace, control group, and keeps the images', async () => {
  // Those of this cluster: control groups have no namespaces, and other tests have clusters too.
  const groups = new PodGroups(STATE_DIR).directories();
  await cluster.down();
  assert.equal(leftovers(), []);
  const store = process.env.DATAPLANE_IMAGES!;
  const mounts = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/mountinfo`, 'utf8').includes(store) ? [pid] : [];
      } catch {
        return [];
      }
    });
  assert.equal(mounts, [], 'processes whose root is an image');
  assert.ok(readdirSync(join(store, 'layers')).length > 0);
  assert.equal(groups.filter(existsSync), [], 'control groups');
});

test.run();
