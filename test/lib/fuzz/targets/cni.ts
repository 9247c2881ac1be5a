/** Calls of the CNI plugin: understood, or refused with the specification's error and a line that says what is wrong. */
import { checkConfig, portMappingsOf, readRequest, targetOf } from '../../../../src/agent/cni/requests.ts';
import { CniError } from '../../../../src/cni/protocol.ts';
import type { Random } from '../../seeded-random.ts';
import { spoil } from '../json.ts';
import type { FuzzTarget } from '../target.ts';

const REQUEST = {
  environment: {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c0ffee',
    CNI_NETNS: '/run/netns/x',
    CNI_IFNAME: 'eth0',
    CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web',
  },
  config: {
    cniVersion: '1.0.0',
    name: 'net',
    type: 'dataplane',
    runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '' }] },
  },
};

export const target: FuzzTarget = {
  name: 'cni',
  unit: 'calls',
  run(random: Random): number {
    let request: unknown = REQUEST;
    for (let n = random.below(4); n > 0; n--) request = spoil(request, random);
    let text = JSON.stringify(request);
    if (random.below(10) === 0) text = text.slice(0, random.below(text.length));
    try {
      const read = readRequest(text);
      checkConfig(read.config);
      const { containerID, ifname } = targetOf(read, random.below(2) === 0);
      if (containerID === '' || /[/\s]/.test(ifname)) throw new Error(`container ${containerID}, device ${ifname}`);
      for (const { hostPort, containerPort } of portMappingsOf(read.config)) {
        if (!(hostPort > 0 && hostPort < 65536 && containerPort > 0)) throw new Error(`${hostPort}:${containerPort}`);
      }
    } catch (error) {
      if (!(error instanceof CniError) || error.message.includes('\n'))
        throw new Error(`${(error as Error).stack}\nof ${text}`);
    }
    return 1;
  },
};
