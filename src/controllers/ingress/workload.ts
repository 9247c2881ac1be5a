/**
 * The objects that serve Ingresses, with the names that ingress-nginx gives its own: a Deployment of nginx, which mounts
 * the configuration as a Secret and reloads it when it changes, and the Service by which it is reached.
 */
import { DIRECTORY, HEALTH_PORT } from './nginx-config.ts';

export const NAMESPACE = 'ingress-nginx';
export const NAME = 'ingress-nginx-controller';
export const CONFIG_SECRET = 'ingress-nginx-config';
/** Pod annotation, changed with every configuration: the pod's node looks at the Secret at once, not within seconds. */
export const CONFIG_VERSION = 'dataplane.dev/ingress-config';

export const LABELS = { 'app.kubernetes.io/name': 'ingress-nginx', 'app.kubernetes.io/component': 'controller' };

/**
 * A configuration that nginx refuses is not loaded, and the one before stays in force. Reloading, nginx starts new workers
 * before the old ones stop accepting, so no request fails.
 */
const SCRIPT = `
config=${DIRECTORY}/nginx.conf
nginx -c $config -g 'daemon off;' & nginx=$!
trap 'kill -QUIT $nginx; wait $nginx; exit 0' TERM QUIT
loaded=$(readlink ${DIRECTORY}/..data)
while kill -0 $nginx 2>/dev/null; do
  sleep 0.5 & wait $!
  there=$(readlink ${DIRECTORY}/..data)
  [ "$there" = "$loaded" ] && continue
  nginx -t -q -c $config && kill -HUP $nginx
  loaded=$there
done
exit 1
`;

const metadata = (name: string) => ({ name, namespace: NAMESPACE, labels: LABELS });

export const deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: metadata(NAME),
  spec: {
    replicas: 1,
    selector: { matchLabels: LABELS },
    template: {
      metadata: { labels: LABELS },
      spec: {
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        containers: [
          {
            name: 'controller',
            image: 'nginx',
            command: ['/bin/sh', '-c', SCRIPT],
            ports: [
              { name: 'http', containerPort: 80 },
              { name: 'https', containerPort: 443 },
            ],
            readinessProbe: { httpGet: { path: '/healthz', port: HEALTH_PORT }, periodSeconds: 1 },
            volumeMounts: [{ name: 'config', mountPath: DIRECTORY, readOnly: true }],
          },
        ],
        volumes: [{ name: 'config', secret: { secretName: CONFIG_SECRET } }],
      },
    },
  },
};

export const service = (type: 'NodePort' | 'LoadBalancer') => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: metadata(NAME),
  spec: {
    type,
    selector: LABELS,
    // The client's address reaches nginx, and with it X-Forwarded-For.
    externalTrafficPolicy: type === 'LoadBalancer' ? 'Local' : 'Cluster',
    ports: [
      { name: 'http', port: 80, targetPort: 'http', appProtocol: 'http' },
      { name: 'https', port: 443, targetPort: 'https', appProtocol: 'https' },
    ],
  },
});

export const ingressClass = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'IngressClass',
  metadata: { name: 'nginx', annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' } },
  spec: { controller: 'k8s.io/ingress-nginx' },
};
