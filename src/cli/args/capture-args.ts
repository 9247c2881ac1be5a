/** What the commands that follow running nodes have in common: the port to capture at, the end, the filter. */
import { usageError } from '../errors.ts';
import { namespaceOf } from '../with-client.ts';
import type { Args } from './args.ts';

/** The value of --pod: NAMESPACE/NAME, or an address. */
export function readCapturedPod(args: Args): string | undefined {
  const pod = args.text('pod')?.replace(/^(po|pods?)\//, '');
  if (pod === undefined || /^\d+\.\d+\.\d+\.\d+$/.test(pod)) return pod;
  const [namespace, name] = pod.includes('/') ? pod.split('/') : [namespaceOf(args), pod];
  if (namespace && name) return `${namespace}/${name}`;
  throw usageError(`--pod ${pod}: expected the name of a pod or its address`);
}

/** The value of --service. */
export function readCapturedService(args: Args): { namespace: string; name: string } | undefined {
  const service = args.text('service')?.replace(/^(svc|services?)\//, '');
  if (service === undefined) return undefined;
  const [namespace, name, more] = service.includes('/') ? service.split('/') : [namespaceOf(args), service];
  if (namespace && name && more === undefined) return { namespace, name };
  throw usageError(`--service ${service}: expected the name of a Service`);
}

/** An expression of tcpdump: the operands from this one on, and what is after `--`. */
export const filterText = ({ operands, rest = [] }: Args, from = 0): string =>
  [...operands.slice(from), ...rest].join(' ');

/** Aborted by Ctrl-C, SIGTERM, or after so many seconds. */
export function endOnSignals(duration?: number): AbortController {
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
  if (duration !== undefined) setTimeout(() => ended.abort(), duration * 1000).unref();
  return ended;
}
