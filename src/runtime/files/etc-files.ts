/** The files in /etc that each container has of its own: hosts, hostname, resolv.conf, and accounts if it needs any. */
import { readFileSync } from 'node:fs';
import type { Pod } from '../../api/types/objects.ts';
import type { CatalogueUser } from '../image/catalogue-image.ts';

export interface DnsSettings {
  nameservers: readonly string[];
  domain: string;
}

/** With hostNetwork that of the node (kubelet, GeneratePodHostNameAndDomain). */
const hostnameOf = ({ spec, metadata }: Pod): string =>
  ((spec.hostNetwork && spec.nodeName) || (spec.hostname ?? metadata.name)).slice(0, 63);

/** The kernel's limit (__NEW_UTS_LEN). */
const MAX_HOSTNAME = 64;

/** The name in the kernel, and in /etc/hostname. @throws Error if the kernel cannot hold it */
export function kernelHostname(pod: Pod, domain = 'cluster.local'): string {
  const { setHostnameAsFQDN, subdomain, hostNetwork } = pod.spec;
  const hostname = hostnameOf(pod);
  if (!setHostnameAsFQDN || !subdomain || hostNetwork) return hostname;
  const name = `${hostname}.${subdomain}.${pod.metadata.namespace ?? 'default'}.svc.${domain}`;
  if (name.length > MAX_HOSTNAME) {
    throw new Error(`setHostnameAsFQDN: ${name} has ${name.length} characters, ${MAX_HOSTNAME} is the maximum`);
  }
  return name;
}

export function hostsFile(pod: Pod, podIP: string, domain: string): string {
  const hostname = hostnameOf(pod);
  const { subdomain, hostAliases = [], hostNetwork } = pod.spec;
  const aliases = hostAliases.map(({ ip, hostnames }) => `${ip}\t${(hostnames ?? []).join('\t')}`);
  if (hostNetwork) return [withNewline(readText('/etc/hosts')), ...aliases.map((line) => `${line}\n`)].join('');
  const qualified = subdomain ? `${hostname}.${subdomain}.${pod.metadata.namespace ?? 'default'}.svc.${domain}\t` : '';
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    `${podIP}\t${qualified}${hostname}`,
    ...aliases,
    '',
  ].join('\n');
}

/**
 * As in kubelet's pkg/kubelet/network/dns: the cluster's name servers and search list, or the host's, plus dnsConfig.
 */
export function resolvConf(pod: Pod, dns: DnsSettings | undefined): string {
  const { dnsPolicy = 'ClusterFirst', dnsConfig, hostNetwork } = pod.spec;
  // With hostNetwork ClusterFirst means Default (kubelet, getPodDNSType).
  const first = dnsPolicy === 'ClusterFirstWithHostNet' || (dnsPolicy === 'ClusterFirst' && !hostNetwork);
  const clustered = first && dns !== undefined && dns.nameservers.length > 0;
  const own = (dnsConfig?.nameservers ?? []).map((server) => `nameserver ${server}`);
  const searches = [...(dnsConfig?.searches ?? [])];
  if (dnsPolicy === 'None' || clustered) {
    const namespace = pod.metadata.namespace ?? 'default';
    const lines = clustered ? dns.nameservers.map((server) => `nameserver ${server}`) : [];
    if (clustered) searches.unshift(`${namespace}.svc.${dns.domain}`, `svc.${dns.domain}`, dns.domain);
    if (searches.length > 0) lines.unshift(`search ${searches.join(' ')}`);
    return `${[...lines, ...own, ...optionsLine(pod, clustered ? CLUSTER_OPTIONS : [])].join('\n')}\n`;
  }
  const host = readText('/etc/resolv.conf').trimEnd();
  const search = searches.length > 0 ? [`search ${searches.join(' ')}`] : [];
  return `${[host, ...search, ...own, ...optionsLine(pod, [])].join('\n')}\n`;
}

const CLUSTER_OPTIONS = [{ name: 'ndots', value: '5' }];

/** One line: those of dnsConfig replace others of the same name (kubelet, mergeDNSOptions). */
function optionsLine({ spec }: Pod, common: readonly { name?: string; value?: string }[]): string[] {
  const options = new Map([...common, ...(spec.dnsConfig?.options ?? [])].map(({ name = '', value }) => [name, value]));
  const texts = [...options].map(([name, value]) => (value ? `${name}:${value}` : name));
  return texts.length === 0 ? [] : [`options ${texts.join(' ')}`];
}

/** The host's accounts and groups plus those of the image; undefined if the host already has them all. */
export function accountFiles(
  users: readonly CatalogueUser[] | undefined,
): { passwd: string; group: string } | undefined {
  if (!users?.length) return undefined;
  const passwd = readText('/etc/passwd');
  const group = readText('/etc/group');
  const has = (file: string, name: string) => file.split('\n').some((line) => line.startsWith(`${name}:`));
  const accounts = users
    .filter(({ name }) => !has(passwd, name))
    .map((u) => `${u.name}:x:${u.uid}:${u.gid ?? u.uid}::${u.home ?? '/'}:${u.shell ?? '/bin/sh'}\n`);
  const groups = users.filter(({ name }) => !has(group, name)).map((u) => `${u.name}:x:${u.gid ?? u.uid}:\n`);
  return { passwd: withNewline(passwd) + accounts.join(''), group: withNewline(group) + groups.join('') };
}

const withNewline = (text: string): string => (text === '' || text.endsWith('\n') ? text : `${text}\n`);

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
