/**
 * From Ingresses to what nginx is to serve: servers by host, their locations, upstreams, certificates; and what of the
 * Ingresses cannot be served, a sentence each. Pure. Everything that becomes part of nginx' configuration passes one of
 * the patterns here: an Ingress must not be able to write directives of its own.
 *
 * Of two Ingresses with the same host and path the older one counts, as with ingress-nginx.
 */
import type { Ingress, IngressBackend, IngressPath } from '../../api/types/objects.ts';

const ANNOTATION = 'nginx.ingress.kubernetes.io/';

/** Where requests of a backend go; no addresses: 503. */
export interface Upstream {
  name: string;
  /** `IP:port`, each. */
  addresses: readonly string[];
}

export interface Location {
  /** As in `location MODIFIER "path"`. */
  modifier: '' | '=' | '~*';
  path: string;
  upstream: string;
  scheme: 'http' | 'https';
  /** Pattern and replacement of a rewrite. */
  rewrite?: [pattern: string, replacement: string];
  redirectToTls: boolean;
  bodySize?: string;
}

export interface Server {
  /** Empty: every host without a server of its own. */
  host: string;
  /** Name of the certificate's files; undefined: the default one. */
  certificate?: string;
  locations: Location[];
}

export interface Model {
  servers: Server[];
  upstreams: Upstream[];
  /** Key of an Ingress → what of it is not served. */
  problems: Map<string, string[]>;
}

/** What the model is made from besides the Ingresses. */
export interface Surroundings {
  /** Addresses of a Service's port, or why there are none to be had. */
  resolve(namespace: string, service: string, port: { name?: string; number?: number }): string[] | string;
  /** Name of the files of a TLS Secret, or why it cannot be used. */
  certificate(namespace: string, secret: string): { name: string } | string;
}

/** Plain paths, as ingress-nginx accepts them with strict-validate-path-type. */
const PLAIN_PATH = /^\/[A-Za-z0-9._~!&'()*+,;=:@%/-]*$/;
/** Regular expressions without what ends a quoted word of the configuration. */
const REGEX_PATH = /^\/[A-Za-z0-9._~!&'()*+,=:@%/$|?^[\]\\-]*$/;
const REWRITE_TARGET = /^\/[A-Za-z0-9._~!&'()*+,=:@%/$?-]*$/;
const BODY_SIZE = /^[0-9]{1,6}[kKmMgG]?$/;

const KNOWN: readonly string[] = [
  'rewrite-target',
  'use-regex',
  'ssl-redirect',
  'force-ssl-redirect',
  'proxy-body-size',
  'backend-protocol',
];

export function modelOf(ingresses: readonly Ingress[], around: Surroundings): Model {
  const builder = new Builder(around);
  const oldestFirst = [...ingresses].sort(
    (a, b) =>
      Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp) ||
      (keyOf(a) < keyOf(b) ? -1 : 1),
  );
  for (const ingress of oldestFirst) builder.add(ingress);
  return builder.finish();
}

const keyOf = ({ metadata }: Ingress): string => `${metadata.namespace}/${metadata.name}`;

class Builder {
  private readonly around: Surroundings;
  private readonly servers = new Map<string, Server>();
  private readonly upstreams = new Map<string, Upstream>();
  private readonly problems = new Map<string, string[]>();
  /** Hosts whose paths are regular expressions, because one of their Ingresses rewrites. */
  private readonly regexHosts = new Set<string>();

  constructor(around: Surroundings) {
    this.around = around;
  }

  add(ingress: Ingress): void {
    const { rules = [], defaultBackend, tls = [] } = ingress.spec ?? {};
    const options = this.optionsOf(ingress);
    for (const { host = '', http } of rules) {
      const server = this.serverOf(host);
      if (options.regex) this.regexHosts.add(host);
      for (const path of http?.paths ?? []) this.addPath(ingress, server, path, options);
      if (defaultBackend)
        this.addPath(ingress, server, { path: '/', pathType: 'Prefix', backend: defaultBackend }, options);
    }
    if (defaultBackend && !rules.some(({ host }) => !host)) {
      this.addPath(ingress, this.serverOf(''), { path: '/', pathType: 'Prefix', backend: defaultBackend }, options);
    }
    for (const { hosts = [], secretName } of tls) this.addCertificate(ingress, hosts, secretName);
  }

  finish(): Model {
    for (const [host, server] of this.servers) {
      if (this.regexHosts.has(host)) server.locations = server.locations.flatMap(asRegex);
      // The first regular expression that matches counts: longer ones first. nginx orders all others itself.
      server.locations = distinct(server.locations).sort((a, b) => b.path.length - a.path.length);
    }
    return { servers: [...this.servers.values()], upstreams: [...this.upstreams.values()], problems: this.problems };
  }

  private optionsOf(ingress: Ingress) {
    const { annotations = {} } = ingress.metadata;
    const of = (name: string) => annotations[ANNOTATION + name];
    for (const name of Object.keys(annotations)) {
      const own = name.startsWith(ANNOTATION) && name.slice(ANNOTATION.length);
      if (own && !KNOWN.includes(own)) this.problem(ingress, `annotation ${name} is not supported and has no effect`);
    }
    const checked = (name: string, pattern: RegExp) => {
      const value = of(name);
      if (value === undefined || pattern.test(value)) return value;
      this.problem(ingress, `annotation ${ANNOTATION}${name} contains an invalid value: ${JSON.stringify(value)}`);
      return undefined;
    };
    const target = checked('rewrite-target', REWRITE_TARGET);
    return {
      target,
      regex: target !== undefined || of('use-regex') === 'true',
      redirect: of('ssl-redirect') !== 'false',
      forceRedirect: of('force-ssl-redirect') === 'true',
      bodySize: checked('proxy-body-size', BODY_SIZE),
      scheme:
        checked('backend-protocol', /^HTTPS?$/i)?.toLowerCase() === 'https' ? ('https' as const) : ('http' as const),
      tlsHosts: new Set((ingress.spec?.tls ?? []).flatMap(({ hosts = [] }) => hosts)),
    };
  }

  private addPath(
    ingress: Ingress,
    server: Server,
    { path: given, pathType, backend }: IngressPath,
    options: ReturnType<Builder['optionsOf']>,
  ): void {
    const path = given || '/';
    const pattern = pathType === 'ImplementationSpecific' || options.regex ? REGEX_PATH : PLAIN_PATH;
    if (!pattern.test(path) || !compiles(path, options.regex)) {
      this.problem(ingress, `path ${JSON.stringify(path)} cannot be used for nginx, and is not served`);
      return;
    }
    const upstream = this.upstreamOf(ingress, backend);
    if (upstream === undefined) return;
    const { target, redirect, forceRedirect, bodySize, scheme, tlsHosts } = options;
    const common = {
      upstream,
      scheme,
      redirectToTls: forceRedirect || (redirect && tlsHosts.has(server.host)),
      ...(bodySize !== undefined && { bodySize }),
    };
    if (options.regex && pathType !== 'Exact') {
      const rewrite = target === undefined ? {} : { rewrite: [`(?i)${path}`, target] as [string, string] };
      server.locations.push({ ...common, modifier: '~*', path: `^${path}`, ...rewrite });
    } else {
      const rewrite = target === undefined ? {} : { rewrite: ['^.*$', target] as [string, string] };
      for (const [modifier, plain] of placesOf(path, pathType)) {
        server.locations.push({ ...common, modifier, path: plain, ...rewrite });
      }
    }
  }

  private upstreamOf(ingress: Ingress, { service }: IngressBackend): string | undefined {
    const { namespace = '' } = ingress.metadata;
    if (service === undefined) {
      this.problem(ingress, 'a backend that is no Service is not supported and is not served');
      return undefined;
    }
    const { name, port = {} } = service;
    const key = `${namespace}-${name}-${port.name ?? port.number}`;
    if (!this.upstreams.has(key)) {
      const found = this.around.resolve(namespace, name, port);
      if (typeof found === 'string') this.problem(ingress, found);
      this.upstreams.set(key, { name: key, addresses: typeof found === 'string' ? [] : found });
    }
    return key;
  }

  private addCertificate(ingress: Ingress, hosts: readonly string[], secretName: string | undefined): void {
    if (secretName === undefined) return; // The default certificate.
    const found = this.around.certificate(ingress.metadata.namespace ?? '', secretName);
    if (typeof found === 'string') {
      this.problem(ingress, `Error obtaining X.509 certificate: ${found}; the default certificate is used`);
      return;
    }
    for (const host of hosts) this.serverOf(host).certificate ??= found.name;
  }

  private serverOf(host: string): Server {
    const server = this.servers.get(host) ?? { host, locations: [] };
    this.servers.set(host, server);
    return server;
  }

  private problem(ingress: Ingress, text: string): void {
    const all = this.problems.get(keyOf(ingress)) ?? [];
    if (!all.includes(text)) this.problems.set(keyOf(ingress), [...all, text]);
  }
}

/** A prefix matches whole elements of a path: `/foo` matches `/foo` and `/foo/bar`, and not `/foobar`. */
function placesOf(path: string, pathType: IngressPath['pathType']): ['' | '=', string][] {
  if (pathType === 'Exact') return [['=', path]];
  const prefix = path.replace(/\/+$/, '');
  if (prefix === '') return [['', '/']];
  return [
    ['=', prefix],
    ['', `${prefix}/`],
  ];
}

/** Beside regular expressions nginx would never look at a plain prefix: those of such a host become expressions too. */
function asRegex(location: Location): Location[] {
  if (location.modifier !== '') return [location];
  return [{ ...location, modifier: '~*', path: `^${location.path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}` }];
}

function distinct(locations: readonly Location[]): Location[] {
  const byPlace = new Map<string, Location>();
  for (const location of locations) {
    const key = `${location.modifier} ${location.path}`;
    if (!byPlace.has(key)) byPlace.set(key, location);
  }
  return [...byPlace.values()];
}

/** PCRE and JavaScript agree on what people write here; what JavaScript refuses could stop nginx from loading anything. */
function compiles(path: string, regex: boolean): boolean {
  if (!regex) return true;
  try {
    new RegExp(path);
    return true;
  } catch {
    return false;
  }
}
