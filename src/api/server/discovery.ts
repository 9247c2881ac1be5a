/** The documents by which kubectl and client libraries find out what is served. */
import { apiVersionOf, RESOURCES, type Resource } from '../resources.ts';

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

/** The Kubernetes version whose API this one is a part of. */
const VERSION = {
  major: '1',
  minor: '32',
  gitVersion: 'v1.32.0+dataplane',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '2025-01-01T00:00:00Z',
  goVersion: '',
  compiler: '',
  platform: 'linux/amd64',
};

function group(name: string, versions: readonly string[]) {
  const all = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: all, preferredVersion: all[0] };
}

const groupNames = [...new Set(RESOURCES.map((r) => r.group).filter((g) => g !== ''))];
const groups = groupNames.map((name) =>
  group(name, [...new Set(RESOURCES.filter((r) => r.group === name).map((r) => r.version))]),
);

function apiResources(resource: Resource) {
  const { plural, singular, namespaced, kind, shortNames, status } = resource;
  const main = {
    name: plural,
    singularName: singular,
    namespaced,
    kind,
    verbs: VERBS,
    ...(shortNames.length > 0 && { shortNames }),
    ...(kind === 'Pod' || kind === 'Service' ? { categories: ['all'] } : {}),
  };
  if (!status) return [main];
  return [main, { name: `${plural}/status`, singularName: '', namespaced, kind, verbs: ['get', 'patch', 'update'] }];
}

const documents = new Map<string, unknown>([
  ['/version', VERSION],
  ['/api', { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }],
  ['/apis', { kind: 'APIGroupList', apiVersion: 'v1', groups }],
]);
for (const g of groups) documents.set(`/apis/${g.name}`, { kind: 'APIGroup', apiVersion: 'v1', ...g });
for (const groupVersion of new Set(RESOURCES.map(apiVersionOf))) {
  documents.set(groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`, {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion,
    resources: RESOURCES.filter((r) => apiVersionOf(r) === groupVersion).flatMap(apiResources),
  });
}

/** The document at this path, without its query; undefined when there is none. */
export function discoveryDocument(path: string): unknown {
  return documents.get(path.length > 1 ? path.replace(/\/$/, '') : path);
}
