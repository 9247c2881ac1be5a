/** Schema of Pod and of the pod template in workloads (k8s.io/api/core/v1 as of v1.32). */
import {
  anything,
  bool,
  conditions,
  dnsLabel,
  dnsSubdomain,
  document,
  filled,
  int,
  labels,
  list,
  map,
  object,
  oneOf,
  portName,
  portNumber,
  portRef,
  quantity,
  type Schema,
  shared,
  text,
  textMap,
  timestamp,
} from './fields.ts';
import { affinity, tolerations, topologySpreadConstraints } from './pod-placement.ts';

export const protocol: Schema = oneOf('TCP', 'UDP', 'SCTP');

const keySelector = object({ name: text(), 'key!': filled('a key'), optional: bool });

const resourceFieldRef = object({
  containerName: text(),
  'resource!': {
    type: 'string',
    pattern: '^(limits|requests)\\.[^]+$',
    expected: 'the name of a resource such as limits.cpu',
  },
  divisor: quantity,
});

const env = list(
  object({
    'name!': filled('the name of a variable'),
    value: text('text (quote numbers and true/false)'),
    valueFrom: object(
      {
        fieldRef: object({ 'fieldPath!': filled('a field path such as status.podIP'), apiVersion: text() }),
        resourceFieldRef,
        configMapKeyRef: keySelector,
        secretKeyRef: keySelector,
      },
      ['fileKeyRef'],
    ),
  }),
);

const sourceRef = object({ name: text(), optional: bool });

const handlers = {
  exec: object({ 'command!': list(text(), { minItems: 1 }) }),
  httpGet: shared(
    'httpGet',
    object({
      path: text(),
      'port!': portRef,
      host: text(),
      scheme: oneOf('HTTP', 'HTTPS'),
      httpHeaders: list(object({ 'name!': filled('the name of a header'), 'value!': text() })),
    }),
  ),
  tcpSocket: object({ 'port!': portRef, host: text() }),
};

const probe = shared(
  'probe',
  object({
    ...handlers,
    grpc: object({ 'port!': portNumber, service: text() }),
    initialDelaySeconds: int(0),
    timeoutSeconds: int(1),
    periodSeconds: int(1),
    successThreshold: int(1),
    failureThreshold: int(1),
    terminationGracePeriodSeconds: int(1),
  }),
);

const hook = shared('hook', object({ ...handlers, sleep: object({ 'seconds!': int(0) }) }));

const id = int(0, 2 ** 31 - 1);
const runAs = { runAsUser: id, runAsGroup: id, runAsNonRoot: bool };
const capabilities = list(text('the name of a capability such as NET_ADMIN'));

const seccompProfile = object({
  'type!': oneOf('RuntimeDefault', 'Unconfined', 'Localhost'),
  localhostProfile: text(),
});

const securityContext = object(
  {
    ...runAs,
    seccompProfile,
    privileged: bool,
    allowPrivilegeEscalation: bool,
    readOnlyRootFilesystem: bool,
    capabilities: object({ add: capabilities, drop: capabilities }),
  },
  ['appArmorProfile', 'procMount', 'seLinuxOptions', 'windowsOptions'],
);

const podSecurityContext = object({ ...runAs, seccompProfile, supplementalGroups: list(id), fsGroup: id }, [
  'appArmorProfile',
  'fsGroupChangePolicy',
  'seLinuxChangePolicy',
  'seLinuxOptions',
  'supplementalGroupsPolicy',
  'sysctls',
  'windowsOptions',
]);

const containerFields: Record<string, Schema> = {
  'name!': dnsLabel,
  'image!': filled('the name of an image'),
  imagePullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
  command: list(text('text (quote numbers and true/false)')),
  args: list(text('text (quote numbers and true/false)')),
  workingDir: text(),
  ports: list(
    object({
      name: portName,
      'containerPort!': portNumber,
      protocol,
      hostPort: portNumber,
      hostIP: text('an IP address'),
    }),
  ),
  env,
  envFrom: list(object({ prefix: text(), configMapRef: sourceRef, secretRef: sourceRef })),
  resources: object({ limits: map(quantity), requests: map(quantity) }, ['claims']),
  volumeMounts: list(
    object(
      {
        'name!': filled('the name of a volume'),
        'mountPath!': filled('a path in the container'),
        readOnly: bool,
        subPath: text(),
        subPathExpr: text("a relative path with the container's variables, such as $(POD_NAME)"),
      },
      ['mountPropagation', 'recursiveReadOnly'],
    ),
  ),
  livenessProbe: probe,
  readinessProbe: probe,
  startupProbe: probe,
  lifecycle: object({ postStart: hook, preStop: hook }, ['stopSignal']),
  terminationMessagePath: text(),
  terminationMessagePolicy: oneOf('File', 'FallbackToLogsOnError'),
  stdin: bool,
  stdinOnce: bool,
  tty: bool,
  securityContext,
};
const WITHOUT_EFFECT = ['resizePolicy', 'restartPolicyRules', 'volumeDevices'];

const container = shared('container', object({ ...containerFields, restartPolicy: oneOf('Always') }, WITHOUT_EFFECT));

const ephemeralContainer = object({ ...containerFields, targetContainerName: text() }, [
  ...WITHOUT_EFFECT,
  'restartPolicy',
]);

const keysToPaths = list(object({ 'key!': filled('a key'), 'path!': filled('a relative path'), mode: int(0, 0o777) }));
const defaultMode = int(0, 0o777);
const fieldsToPaths = list(
  object({
    'path!': filled('a relative path'),
    fieldRef: object({ 'fieldPath!': filled('a field path such as metadata.labels'), apiVersion: text() }),
    resourceFieldRef,
    mode: int(0, 0o777),
  }),
);

const volume = object(
  {
    'name!': dnsLabel,
    emptyDir: object({ medium: oneOf('', 'Memory'), sizeLimit: quantity }),
    hostPath: object({ 'path!': filled('a path on the host'), type: text() }),
    configMap: object({ name: text(), items: keysToPaths, defaultMode, optional: bool }),
    secret: object({ secretName: text(), items: keysToPaths, defaultMode, optional: bool }),
    downwardAPI: object({ items: fieldsToPaths, defaultMode }),
    persistentVolumeClaim: object({ 'claimName!': dnsSubdomain, readOnly: bool }),
    projected: object({
      defaultMode,
      sources: list(
        object(
          {
            configMap: object({ name: text(), items: keysToPaths, optional: bool }),
            secret: object({ name: text(), items: keysToPaths, optional: bool }),
            downwardAPI: object({ items: fieldsToPaths }),
            serviceAccountToken: object({
              audience: text(),
              expirationSeconds: int(600),
              'path!': filled('a relative path'),
            }),
          },
          ['clusterTrustBundle', 'podCertificate'],
        ),
      ),
    }),
  },
  [
    'awsElasticBlockStore',
    'azureDisk',
    'azureFile',
    'cephfs',
    'cinder',
    'csi',
    'ephemeral',
    'fc',
    'flexVolume',
    'flocker',
    'gcePersistentDisk',
    'gitRepo',
    'glusterfs',
    'image',
    'iscsi',
    'nfs',
    'photonPersistentDisk',
    'portworxVolume',
    'quobyte',
    'rbd',
    'scaleIO',
    'storageos',
    'vsphereVolume',
  ],
);

export const podSpec: Schema = shared(
  'podSpec',
  object(
    {
      'containers!': list(container, { minItems: 1 }),
      initContainers: list(container),
      ephemeralContainers: list(ephemeralContainer),
      volumes: list(volume),
      nodeName: dnsSubdomain,
      nodeSelector: textMap,
      restartPolicy: oneOf('Always', 'OnFailure', 'Never'),
      terminationGracePeriodSeconds: int(0),
      activeDeadlineSeconds: int(1),
      dnsPolicy: oneOf('ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'),
      dnsConfig: object({
        nameservers: list(text('an IP address')),
        searches: list(text('a DNS name')),
        options: list(object({ name: text(), value: text() })),
      }),
      hostNetwork: bool,
      hostPID: bool,
      hostIPC: bool,
      shareProcessNamespace: bool,
      schedulerName: text(),
      priorityClassName: text('the name of a PriorityClass'),
      priority: int(-(2 ** 31), 2 ** 31 - 1),
      preemptionPolicy: oneOf('PreemptLowerPriority', 'Never'),
      hostname: dnsLabel,
      subdomain: dnsLabel,
      setHostnameAsFQDN: bool,
      schedulingGates: list(object({ 'name!': filled('the name of a gate') })),
      hostAliases: list(object({ 'ip!': text('an IP address'), hostnames: list(text('a DNS name')) })),
      enableServiceLinks: bool,
      securityContext: podSecurityContext,
      affinity,
      topologySpreadConstraints,
      overhead: map(quantity),
      readinessGates: list(object({ 'conditionType!': filled('the type of a condition') })),
      serviceAccountName: text(),
      serviceAccount: text(),
      automountServiceAccountToken: bool,
      tolerations,
    },
    ['hostUsers', 'hostnameOverride', 'imagePullSecrets', 'os', 'resourceClaims', 'resources', 'runtimeClassName'],
  ),
);

const containerState = shared(
  'containerState',
  object({
    waiting: object({ reason: text(), message: text() }),
    running: object({ startedAt: timestamp }),
    terminated: object({
      'exitCode!': int(-255, 255),
      signal: int(0, 64),
      reason: text(),
      message: text(),
      startedAt: timestamp,
      finishedAt: timestamp,
      containerID: text(),
    }),
  }),
);

const containerStatuses = shared(
  'containerStatuses',
  list(
    object(
      {
        'name!': dnsLabel,
        image: text(),
        imageID: text(),
        containerID: text(),
        ready: bool,
        started: bool,
        restartCount: int(0),
        state: containerState,
        lastState: containerState,
      },
      ['allocatedResources', 'allocatedResourcesStatus', 'resources', 'stopSignal', 'user', 'volumeMounts'],
    ),
  ),
);

const ips = list(object({ 'ip!': text('an IP address') }));

const podStatus = object(
  {
    phase: oneOf('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'),
    reason: text(),
    message: text(),
    conditions,
    hostIP: text('an IP address'),
    hostIPs: ips,
    podIP: text('an IP address'),
    podIPs: ips,
    startTime: timestamp,
    containerStatuses,
    initContainerStatuses: containerStatuses,
    ephemeralContainerStatuses: containerStatuses,
    qosClass: text(),
    observedGeneration: int(0),
    nominatedNodeName: text('the name of a node'),
  },
  ['resize', 'resourceClaimStatuses', 'extendedResourceClaimStatus'],
);

export const pod: Schema = document('v1', 'Pod', dnsSubdomain, { 'spec!': podSpec, status: podStatus });

/** Only labels and annotations of a template's metadata are used; other fields are allowed, as in Kubernetes. */
export const podTemplate: Schema = object({
  metadata: object({
    labels,
    annotations: textMap,
    name: text(),
    generateName: text(),
    namespace: text(),
    creationTimestamp: anything,
    finalizers: anything,
  }),
  'spec!': podSpec,
});
