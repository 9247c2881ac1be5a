/** ConfigMaps and Secrets as pods refer to them. */
import type { ConfigMap, Secret } from '../../api/types/objects.ts';
import type { PodManagerOptions } from '../pod/options.ts';

/** A container cannot be made from its manifest as things are: kubelet's CreateContainerConfigError. */
export class ContainerConfigError extends Error {}

export class ConfigSource {
  private readonly options: Pick<PodManagerOptions, 'getConfigMap' | 'getSecret'>;

  constructor(options: Pick<PodManagerOptions, 'getConfigMap' | 'getSecret'>) {
    this.options = options;
  }

  /** @throws ContainerConfigError when it is not there and not optional */
  async configMap(namespace: string, name: string, optional = false): Promise<ConfigMap | undefined> {
    const found = await this.options.getConfigMap(namespace, name);
    if (found === undefined && !optional) throw new ContainerConfigError(`configmap "${name}" not found`);
    return found;
  }

  /** @throws ContainerConfigError when it is not there and not optional */
  async secret(namespace: string, name: string, optional = false): Promise<Secret | undefined> {
    const found = await this.options.getSecret(namespace, name);
    if (found === undefined && !optional) throw new ContainerConfigError(`secret "${name}" not found`);
    return found;
  }
}
