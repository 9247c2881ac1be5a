/** The version of Kubernetes whose API is served, as clients read it: of the server, and of each node's agent. */
export const KUBERNETES_VERSION = 'v1.34.0+dataplane';
