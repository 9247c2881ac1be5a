/** ConfigMaps, Secrets, tokens and claimed volumes to which pods refer. */
import type { ConfigMap, PersistentVolume, Pod, Secret } from '../../api/types/objects.ts';
import type { PodManagerOptions } from '../pod/options.ts';

/** A container cannot be created from its manifest at present: kubelet's CreateContainerConfigError. */
export class ContainerConfigError extends Error {}

type SourceOptions = Pick<PodManagerOptions, 'getConfigMap' | 'getSecret' | 'getClaimedVolume' | 'requestToken'>;

/** A token is renewed after this fraction of its lifetime (kubelet, pkg/kubelet/token). */
const RENEW_AT = 0.8;

interface HeldToken {
  text: string;
  renewAtMs: number;
  expiresAtMs: number;
}

/** The sources of one pod. */
export class ConfigSource {
  private readonly options: SourceOptions;
  /** By audience and requested lifetime. */
  private readonly tokens = new Map<string, HeldToken>();

  constructor(options: SourceOptions) {
    this.options = options;
  }

  /** @throws ContainerConfigError if it does not exist and is not optional */
  async configMap(namespace: string, name: string, optional = false): Promise<ConfigMap | undefined> {
    const found = await this.options.getConfigMap(namespace, name);
    if (found === undefined && !optional) throw new ContainerConfigError(`configmap "${name}" not found`);
    return found;
  }

  /** @throws ContainerConfigError if it does not exist and is not optional */
  async secret(namespace: string, name: string, optional = false): Promise<Secret | undefined> {
    const found = await this.options.getSecret(namespace, name);
    if (found === undefined && !optional) throw new ContainerConfigError(`secret "${name}" not found`);
    return found;
  }

  /** The volume that the pod's claim is bound to. @throws Error while it is bound to none */
  async claimedVolume(namespace: string, claim: string): Promise<PersistentVolume> {
    const volume = await this.options.getClaimedVolume?.(namespace, claim);
    if (volume === undefined) throw new Error(`error processing PVC ${namespace}/${claim}: PVC is not bound`);
    return volume;
  }

  /** A token of the pod's service account that is not about to expire. @throws Error if none can be obtained */
  async token(pod: Pod, audience: string | undefined, seconds: number): Promise<string> {
    const key = `${audience ?? ''} ${seconds}`;
    const held = this.tokens.get(key);
    const nowMs = Date.now();
    if (held !== undefined && nowMs < held.renewAtMs) return held.text;
    try {
      if (this.options.requestToken === undefined) throw new Error('this node cannot request tokens');
      const { token, expiresAtMs } = await this.options.requestToken(pod, audience, seconds);
      this.tokens.set(key, { text: token, expiresAtMs, renewAtMs: nowMs + (expiresAtMs - nowMs) * RENEW_AT });
      return token;
    } catch (error) {
      // The API may be temporarily unavailable: the old token is still valid.
      if (held !== undefined && nowMs < held.expiresAtMs) return held.text;
      throw error;
    }
  }
}
