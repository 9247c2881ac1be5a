/** The arguments `POD [-c CONTAINER]`, shared by exec, logs and restart. */
import type { ApiClient } from '../../api/client/client.ts';
import { containersOf } from '../../api/containers.ts';
import type { Pod } from '../../api/types/objects.ts';
import { failed, usageError } from '../errors.ts';
import { NAMESPACE_OPTION } from '../with-client.ts';
import { type Args, needOperand, type Options } from './args.ts';

export const POD_OPTIONS = {
  container: { short: 'c', value: 'NAME', help: "the container (default: the pod's first)" },
  ...NAMESPACE_OPTION,
} satisfies Options;

/** `mc3`, `pod/mc3` or `po/mc3` → mc3. */
export function readPodName(command: string, args: Args): string {
  const word = needOperand(command, args, 0, 'POD');
  const [kind, name, more] = word.split('/');
  if (name === undefined) return word;
  if (more === undefined && name !== '' && /^(po|pods?)$/.test(kind!)) return name;
  throw usageError(`"${word}": expected the name of a pod`);
}

/**
 * The pod, and the container to use.
 * @param wanted the container's name, if given
 * @param first whether it defaults to the pod's first container
 */
export async function findPod(
  client: ApiClient,
  name: string,
  namespace: string,
  wanted: string | undefined,
  first: boolean,
): Promise<{ pod: Pod; container: string | undefined }> {
  const pod = await client.get('Pod', name, namespace);
  const names = containersOf(pod.spec).map((container) => container.name);
  if (wanted !== undefined && !names.includes(wanted)) {
    throw failed(`pod ${name} has no container ${wanted}`, `expected one of ${names.join(', ')}`);
  }
  return { pod, container: wanted ?? (first ? names[0] : undefined) };
}
