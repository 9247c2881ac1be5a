/** Rules of Ingress (pkg/apis/networking/validation). */
import type { FieldError } from '../errors.ts';
import type { Ingress, IngressBackend, IngressPath } from '../types/objects.ts';
import { invalid, required } from './field-errors.ts';

const LABEL = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?';
const HOST = new RegExp(`^(\\*\\.)?${LABEL}(\\.${LABEL})*$`);
const BAD_HOST =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character; a wildcard may be its first label";
/** In paths that are compared and not interpreted (invalidPathSequences, invalidPathSuffixes). */
const SEQUENCES = ['//', '/./', '/../', '%2f', '%2F'];
const SUFFIXES = ['/..', '/.'];

export function checkIngress({ spec = {} }: Ingress): FieldError[] {
  const errors: FieldError[] = [];
  const { defaultBackend, rules = [] } = spec;
  if (defaultBackend === undefined && rules.length === 0) {
    errors.push(invalid('spec', {}, 'either `defaultBackend` or `rules` must be specified'));
  }
  if (defaultBackend !== undefined) checkBackend(defaultBackend, 'spec.defaultBackend', errors);
  rules.forEach(({ host, http }, i) => {
    const path = `spec.rules[${i}]`;
    if (host !== undefined && host !== '' && !isHost(host)) errors.push(invalid(`${path}.host`, host, BAD_HOST));
    if (http === undefined) return;
    if (!http.paths?.length) errors.push(required(`${path}.http.paths`, ''));
    http.paths?.forEach((each, j) => {
      checkPath(each, `${path}.http.paths[${j}]`, errors);
    });
  });
  spec.tls?.forEach(({ hosts = [] }, i) => {
    hosts.forEach((host, j) => {
      if (!isHost(host)) errors.push(invalid(`spec.tls[${i}].hosts[${j}]`, host, BAD_HOST));
    });
  });
  return errors;
}

const isHost = (host: string): boolean => host.length <= 253 && HOST.test(host);

function checkPath({ path, pathType, backend }: IngressPath, at: string, errors: FieldError[]): void {
  if (pathType === undefined) errors.push(required(`${at}.pathType`, 'pathType must be specified'));
  const interpreted = pathType === 'ImplementationSpecific';
  if (path ? !path.startsWith('/') : !interpreted) {
    errors.push(invalid(`${at}.path`, path ?? '', 'must be an absolute path'));
  } else if (path && !interpreted) {
    for (const part of SEQUENCES) {
      if (path.includes(part)) errors.push(invalid(`${at}.path`, path, `must not contain '${part}'`));
    }
    for (const end of SUFFIXES) {
      if (path.endsWith(end)) errors.push(invalid(`${at}.path`, path, `cannot end with '${end}'`));
    }
  }
  if (backend !== undefined) checkBackend(backend, `${at}.backend`, errors);
}

function checkBackend({ service, resource }: IngressBackend, at: string, errors: FieldError[]): void {
  if (service !== undefined && resource !== undefined) {
    errors.push(invalid(at, '', 'cannot set both resource and service backends'));
  } else if (service === undefined && resource === undefined) {
    errors.push(required(at, 'resource or service backend is required'));
  } else if (service !== undefined) {
    const { name, number } = service.port ?? {};
    if (!service.name) errors.push(required(`${at}.service.name`, ''));
    if (!name && !number) errors.push(required(at, 'port name or number is required'));
    if (name && number) errors.push(invalid(at, '', 'cannot set both port name & port number'));
    if (number !== undefined && (number < 0 || number > 65535)) {
      errors.push(invalid(`${at}.service.port.number`, number, 'must be between 1 and 65535, inclusive'));
    }
  }
}
