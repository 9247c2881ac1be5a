/**
 * The node's Lease in kube-node-lease, renewed every ten seconds for forty, as by kubelet (pkg/kubelet/apis/config). It
 * belongs to the Node object, so that it goes with it. A renewal that fails is tried again ten seconds later.
 */
import type { ApiClient } from '../api/client/client.ts';
import { ApiError } from '../api/errors.ts';
import { type Lease, NODE_LEASES, type NodeObject } from '../api/types/objects.ts';

const PERIOD_MS = 10_000;
const DURATION_SECONDS = 40;

export class NodeLease {
  private readonly client: ApiClient;
  private readonly node: () => NodeObject;
  private timer: NodeJS.Timeout | undefined;

  /** @param node the Node object as last seen */
  constructor(client: ApiClient, node: () => NodeObject) {
    this.client = client;
    this.node = node;
  }

  start(): void {
    void this.renew();
    this.timer = setInterval(() => void this.renew(), PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Never rejects: the heartbeat logs it when the API does not answer. */
  async renew(): Promise<void> {
    const { apiVersion, kind, metadata } = this.node();
    const { name, uid } = metadata;
    const renewTime = new Date().toISOString().replace(/Z$/, '000Z'); // A MicroTime: six digits.
    const spec = { holderIdentity: name, leaseDurationSeconds: DURATION_SECONDS, renewTime };
    const ownerReferences = [{ apiVersion, kind, name, uid }];
    try {
      await this.client.patch(
        'Lease',
        name,
        { metadata: { ownerReferences }, spec },
        { namespace: NODE_LEASES, type: 'merge' },
      );
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) return;
      const lease = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace: NODE_LEASES, ownerReferences },
        spec,
      };
      await this.client.create<Lease>(lease as never).catch(() => {});
    }
  }
}
