/** Validation across the fields of a pod's spec. */
import { parseIp } from '../../net/address.ts';
import { isSidecar } from '../containers.ts';
import type { FieldError } from '../errors.ts';
import { ALL_ADDRESSES } from '../host-ports.ts';
import { Quantity } from '../quantity.ts';
import type { Container, Handler, PodSpec, Probe, Volume } from '../types/objects.ts';
import { checkEphemeralContainers } from './ephemeral-containers.ts';
import { duplicate, invalid, notFound } from './field-errors.ts';

/**
 * `at` is the path of the spec, `spec` or `spec.template.spec`.
 * @param claims volumes that the pods will have besides those of the spec: a StatefulSet's claims
 */
export function checkPodSpec(spec: PodSpec, at: string, claims: readonly string[] = []): FieldError[] {
  const errors: FieldError[] = [];
  const volumes = checkVolumes(spec.volumes ?? [], at, errors);
  for (const name of claims) volumes.add(name);
  const names = new Set<string>();
  const hostPorts = new Set<string>();
  const groups = [
    ['initContainers', spec.initContainers ?? []],
    ['containers', spec.containers],
  ] as const;
  for (const [group, containers] of groups) {
    containers.forEach((container, i) => {
      const path = `${at}.${group}[${i}]`;
      if (names.has(container.name)) errors.push(duplicate(`${path}.name`, container.name));
      names.add(container.name);
      checkRole(container, path, group, errors);
      checkContainer(container, path, volumes, hostPorts, errors);
    });
  }
  errors.push(
    ...checkEphemeralContainers(spec, at, (container, path) =>
      checkContainer(container, path, volumes, hostPorts, errors),
    ),
  );
  for (const [i, alias] of (spec.hostAliases ?? []).entries()) {
    if (parseIp(alias.ip) === undefined) {
      errors.push({ path: `${at}.hostAliases[${i}].ip`, message: `expected an IP address, got "${alias.ip}"` });
    }
  }
  if (spec.dnsPolicy === 'None' && !spec.dnsConfig?.nameservers?.length) {
    const message = 'must provide at least one DNS nameserver when `dnsPolicy` is None';
    errors.push({ path: `${at}.dnsConfig.nameservers`, message, reason: 'FieldValueRequired' });
  }
  return errors;
}

/** What only sidecars, or only containers that are not init containers, may have (validation.validateInitContainers). */
function checkRole(
  container: Container,
  path: string,
  group: 'initContainers' | 'containers',
  errors: FieldError[],
): void {
  const forbid = (field: string, message: string) =>
    errors.push({ path: `${path}.${field}`, message, reason: 'FieldValueForbidden' });
  if (group === 'containers') {
    if (container.restartPolicy !== undefined) forbid('restartPolicy', 'may not be set for non-init containers');
    return;
  }
  if (isSidecar(container)) return;
  for (const field of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    if (container[field] !== undefined)
      forbid(field, 'may not be set for init containers without restartPolicy=Always');
  }
}

function checkVolumes(volumes: readonly Volume[], at: string, errors: FieldError[]): Set<string> {
  const names = new Set<string>();
  volumes.forEach((volume, i) => {
    const path = `${at}.volumes[${i}]`;
    if (names.has(volume.name)) errors.push(duplicate(`${path}.name`, volume.name));
    names.add(volume.name);
    const sources = Object.keys(volume).filter((key) => key !== 'name');
    if (sources.length > 1) {
      const message = 'may not specify more than 1 volume type';
      errors.push({ path: `${path}.${sources[1]}`, message, reason: 'FieldValueForbidden' });
    }
  });
  return names;
}

function checkContainer(
  container: Container,
  path: string,
  volumes: Set<string>,
  hostPorts: Set<string>,
  errors: FieldError[],
): void {
  checkResources(container, `${path}.resources`, errors);
  const portNames = new Set<string>();
  container.ports?.forEach((port, i) => {
    const at = `${path}.ports[${i}]`;
    if (port.name !== undefined) {
      if (portNames.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      portNames.add(port.name);
    }
    if (port.hostIP !== undefined && parseIp(port.hostIP) === undefined) {
      errors.push({ path: `${at}.hostIP`, message: `expected an IP address, got "${port.hostIP}"` });
    }
    if (port.hostPort === undefined) return;
    const key = `${port.protocol ?? 'TCP'}/${port.hostIP || ALL_ADDRESSES}/${port.hostPort}`;
    if (hostPorts.has(key)) errors.push(duplicate(`${at}.hostPort`, String(port.hostPort)));
    hostPorts.add(key);
  });
  const mountPaths = new Set<string>();
  container.volumeMounts?.forEach((mount, i) => {
    const at = `${path}.volumeMounts[${i}]`;
    if (!volumes.has(mount.name)) errors.push(notFound(`${at}.name`, mount.name));
    if (mountPaths.has(mount.mountPath)) {
      errors.push({ path: `${at}.mountPath`, message: `must be unique, "${mount.mountPath}" is mounted twice` });
    }
    mountPaths.add(mount.mountPath);
    if (mount.subPath && mount.subPathExpr) {
      errors.push({ path: `${at}.subPathExpr`, message: 'subPathExpr and subPath are mutually exclusive' });
    }
  });
  container.env?.forEach((variable, i) => {
    const at = `${path}.env[${i}].valueFrom`;
    if (variable.valueFrom === undefined) return;
    if (variable.value) errors.push({ path: at, message: 'may not be specified when `value` is not empty' });
    if (Object.keys(variable.valueFrom).length !== 1)
      errors.push({ path: at, message: 'must specify exactly one source' });
  });
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    const probe = container[name];
    if (probe !== undefined) checkProbe(probe, `${path}.${name}`, name !== 'readinessProbe', errors);
  }
  for (const name of ['postStart', 'preStop'] as const) {
    const hook = container.lifecycle?.[name];
    if (hook !== undefined) checkHandler(hook, `${path}.lifecycle.${name}`, errors);
  }
}

/** A request is at most the limit (validation.ValidateContainerResourceRequirements). */
function checkResources({ resources }: Container, path: string, errors: FieldError[]): void {
  for (const [name, request] of Object.entries(resources?.requests ?? {})) {
    const limit = resources?.limits?.[name];
    if (limit === undefined || !Quantity.from(request).exceeds(Quantity.from(limit))) continue;
    const why = `must be less than or equal to ${name} limit of ${limit}`;
    errors.push(invalid(`${path}.requests`, String(request), why));
  }
}

function checkProbe(probe: Probe, path: string, mustSucceedOnce: boolean, errors: FieldError[]): void {
  checkHandler(probe, path, errors);
  if (mustSucceedOnce && (probe.successThreshold ?? 1) !== 1) {
    errors.push({ path: `${path}.successThreshold`, message: `Invalid value: ${probe.successThreshold}: must be 1` });
  }
}

function checkHandler(handler: Handler, path: string, errors: FieldError[]): void {
  const kinds = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'].filter((key) => key in handler);
  if (kinds.length === 0) {
    errors.push({
      path,
      message: 'must specify a handler type (exec, httpGet or tcpSocket)',
      reason: 'FieldValueRequired',
    });
  }
  if (kinds.length > 1) {
    const message = 'may not specify more than 1 handler type';
    errors.push({ path: `${path}.${kinds[1]}`, message, reason: 'FieldValueForbidden' });
  }
}
