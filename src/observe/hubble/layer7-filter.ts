/** Hubble's filters for names and for messages of applications (cilium pkg/hubble/filters/{fqdn,http}.go). */
import type { End, Test } from './filter.ts';

/** `www.example.com`, `*.example.com`. Undefined if the text can be no name. */
export function byFqdn(end: End, text: string): Test | undefined {
  const pattern = text.trim().toLowerCase().replace(/\.$/, '');
  if (!/^[-a-z0-9_.*]+$/.test(pattern)) return undefined;
  const expression = new RegExp(`^${pattern.replaceAll('.', '[.]').replace(/\*+/g, '[-a-zA-Z0-9_.]*')}$`);
  return (flow) =>
    (flow[end === 'source' ? 'source_names' : 'destination_names'] ?? []).some((one) => expression.test(one));
}

/** A regular expression for the name that is looked up. Undefined if the text is none. */
export function byDnsQuery(text: string): Test | undefined {
  const expression = expressionOf(text);
  return expression && (({ l7 }) => l7?.dns !== undefined && expression.test(l7.dns.query));
}

/** `404`; `5+` and `40+` are prefixes. Undefined if the text is neither. */
export function byHttpStatus(text: string): Test | undefined {
  if (!/^([1-5]\d\d|[1-5]\d?\+)$/.test(text)) return undefined;
  const prefix = text.replace('+', '');
  return ({ l7 }) => l7?.http?.code !== undefined && String(l7.http.code).startsWith(prefix);
}

export const byHttpMethod =
  (text: string): Test =>
  ({ l7 }) =>
    l7?.http?.method === text.toUpperCase();

/** A regular expression for the path, without host and query. Undefined if the text is none. */
export function byHttpPath(text: string): Test | undefined {
  const expression = expressionOf(text);
  return (
    expression &&
    (({ l7 }) => {
      const path = pathOf(l7?.http?.url);
      return path !== undefined && expression.test(path);
    })
  );
}

/** Undefined if the text is no regular expression. */
export function byHttpUrl(text: string): Test | undefined {
  const expression = expressionOf(text);
  return expression && (({ l7 }) => l7?.http?.url !== undefined && expression.test(l7.http.url));
}

/** `http://web/cart?id=1` → `/cart` */
function pathOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : /^(?:[a-z]+:\/\/[^/?#]*)?([^?#]*)/i.exec(url)?.[1];
}

function expressionOf(text: string): RegExp | undefined {
  try {
    return new RegExp(text);
  } catch {
    return undefined;
  }
}
