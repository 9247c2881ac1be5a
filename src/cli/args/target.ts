/** The receiver of a connection on the command line: as `trace` has it, or a name as a pod would use it. */
import type { EndArg } from '../../observe/trace/resolver.ts';
import { usageError } from '../errors.ts';
import { checkPort, readEnd } from './trace-packet.ts';

export interface Target {
  readonly kind: 'svc' | 'pod' | 'node' | 'ip' | 'name';
  readonly name: string;
  readonly port: string | undefined;
}

/**
 * `svc/web:80`, `pod/web:8080`, `10.96.0.10:80`, `web.shop:80`.
 * @param port given apart from the text
 */
export function readTarget(text: string, port: string | undefined): Target {
  const both = (own: string | undefined) => {
    if (own !== undefined && port !== undefined) throw usageError(`the port is given twice, as ${own} and as ${port}`);
    return own ?? port;
  };
  const name = /^([a-z0-9][a-z0-9.-]*)(?::([a-z0-9-]+))?$/.exec(text);
  if (port !== undefined) checkPort(port, `port ${port}`);
  if (name !== null && !/^[\d.]+$/.test(name[1]!) && !text.includes('/')) {
    checkPort(name[2], `TO ${text}`);
    return { kind: 'name', name: name[1]!, port: both(name[2]) };
  }
  const end = readEnd(text, 'TO');
  if (end.kind === 'outside') throw usageError('TO cannot be outside', 'give an address');
  return { kind: end.kind, name: end.name, port: both(end.port) };
}

/** The receiver for the resolver of traces: a name is that of a Service. */
export function endOf({ kind, name, port }: Target, namespace: string): { to: EndArg; toNamespace: string } {
  if (kind !== 'name') return { to: { kind, name, port }, toNamespace: namespace };
  const [service = '', own = namespace] = name.split('.');
  return { to: { kind: 'svc', name: service, port }, toNamespace: own };
}
