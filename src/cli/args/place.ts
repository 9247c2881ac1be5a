/** A place of the cluster on the command line: `outside`, `node/NAME` or `pod/NAME`. */
import { networkNamespaceOf, type Place } from '../../cluster/network-namespaces.ts';
import { readClusterFile } from '../../cluster/state.ts';
import { BRING_UP, type CliError, failed, NOT_UP, usageError } from '../errors.ts';

const KINDS: Readonly<Record<string, 'pod' | 'node'>> = {
  pod: 'pod',
  pods: 'pod',
  po: 'pod',
  node: 'node',
  nodes: 'node',
  no: 'node',
};

/** @param namespace of a pod */
export function readPlace(text: string, option: string, namespace: string): Place {
  if (text === 'outside') return { kind: 'outside' };
  const [word = '', name = '', more] = text.split('/');
  const kind = Object.hasOwn(KINDS, word) ? KINDS[word] : undefined;
  if (kind === undefined || name === '' || more !== undefined || !/^[a-z0-9.-]+$/.test(name))
    throw usageError(`${option} ${text}: expected outside, node/NAME or pod/NAME`);
  return kind === 'node' ? { kind, name } : { kind, name, namespace };
}

/** Path of the place's network namespace. @throws CliError if no cluster is up, or the place is not on this machine */
export function needNetworkNamespace(place: Place): string {
  const path = networkNamespaceOf(place);
  if (path !== undefined) return path;
  const cluster = readClusterFile();
  throw cluster === undefined
    ? failed(NOT_UP, BRING_UP)
    : notHere(
        place,
        cluster.nodes.map(({ name }) => name),
      );
}

function notHere(place: Place, nodes: readonly string[]): CliError {
  if (place.kind === 'outside') return failed('dp-outside does not exist', '`dataplane down` and `up` again');
  if (place.kind === 'node')
    return failed(`there is no node ${place.name} on this machine`, `there are ${nodes.join(', ')}`);
  const { name, namespace } = place;
  return failed(
    `pod ${name} has no network namespace on this machine`,
    `see \`dataplane get pod ${name} -n ${namespace}\``,
  );
}
