/** Schemas of Service, Endpoints and EndpointSlice (k8s.io/api/core/v1, discovery/v1 as of v1.32). */
import {
  anything,
  bool,
  conditions,
  dns1035Label,
  dnsLabel,
  dnsSubdomain,
  document,
  filled,
  int,
  labels,
  list,
  object,
  oneOf,
  portNumber,
  portRef,
  type Schema,
  text,
  textMap,
} from './fields.ts';
import { protocol } from './pod.ts';

const ip = text('an IP address');
const policy = oneOf('Cluster', 'Local');

const servicePort = object({
  name: dnsLabel,
  protocol,
  appProtocol: text(),
  'port!': portNumber,
  // Go clients send 0 for a port that is not set.
  targetPort: { ...portRef, minimum: 0 },
  nodePort: { ...int(0, 65535), expected: 'integer 1–65535' },
});

const serviceSpec = object({
  type: oneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
  selector: labels,
  ports: list(servicePort),
  clusterIP: text('an IP address or None'),
  clusterIPs: list(text('an IP address or None')),
  ipFamilies: list(oneOf('IPv4', 'IPv6')),
  ipFamilyPolicy: oneOf('SingleStack', 'PreferDualStack', 'RequireDualStack'),
  externalIPs: list(ip),
  externalName: text('a DNS name'),
  externalTrafficPolicy: policy,
  internalTrafficPolicy: policy,
  healthCheckNodePort: int(0, 65535),
  loadBalancerIP: ip,
  loadBalancerClass: filled('the name of a load-balancer class'),
  loadBalancerSourceRanges: list(text('a CIDR')),
  allocateLoadBalancerNodePorts: bool,
  publishNotReadyAddresses: bool,
  sessionAffinity: oneOf('None', 'ClientIP'),
  // API maximum: one day (k8s.io/kubernetes/pkg/apis/core/validation, MaxServiceClientIPAffinity).
  sessionAffinityConfig: object({ clientIP: object({ timeoutSeconds: int(1, 86400) }) }),
  trafficDistribution: oneOf('PreferClose', 'PreferSameZone', 'PreferSameNode'),
});

const loadBalancer = object({
  ingress: list(
    object({
      ip,
      hostname: text('a DNS name'),
      ipMode: oneOf('VIP', 'Proxy'),
      ports: list(object({ 'port!': portNumber, 'protocol!': protocol, error: text() })),
    }),
  ),
});

export const service: Schema = document('v1', 'Service', dns1035Label, {
  'spec!': serviceSpec,
  status: object({ loadBalancer, conditions }),
});

const objectReference = object({
  apiVersion: text(),
  kind: text(),
  namespace: text(),
  name: text(),
  uid: text(),
  resourceVersion: text(),
  fieldPath: text(),
});

const addresses = list(object({ 'ip!': ip, hostname: dnsLabel, nodeName: dnsSubdomain, targetRef: objectReference }));

export const endpoints: Schema = document('v1', 'Endpoints', dnsSubdomain, {
  subsets: list(
    object({
      addresses,
      notReadyAddresses: addresses,
      ports: list(object({ name: dnsLabel, 'port!': portNumber, protocol, appProtocol: text() })),
    }),
  ),
});

const named = list(object({ 'name!': filled('a name') }));

export const endpointSlice: Schema = document('discovery.k8s.io/v1', 'EndpointSlice', dnsSubdomain, {
  'addressType!': oneOf('IPv4', 'IPv6', 'FQDN'),
  'endpoints!': list(
    object({
      'addresses!': list(text('an address'), { minItems: 1, maxItems: 100 }),
      conditions: object({ ready: bool, serving: bool, terminating: bool }),
      hostname: dnsLabel,
      nodeName: dnsSubdomain,
      zone: text(),
      hints: object({ forZones: named, forNodes: named }),
      targetRef: objectReference,
      deprecatedTopology: textMap,
    }),
    { maxItems: 1000 },
  ),
  ports: list(
    object({
      name: { ...dnsLabel, pattern: `^$|${dnsLabel.pattern}` },
      protocol,
      port: portNumber,
      appProtocol: text(),
    }),
    { maxItems: 20000 },
  ),
});

export const event: Schema = {
  ...document('v1', 'Event', dnsSubdomain, { 'involvedObject!': objectReference }),
  additionalProperties: anything,
};
