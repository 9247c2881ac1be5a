/** Content negotiation (RFC 9110 §12.5.1): which form of an object the client accepts. */
import { notAcceptable } from '../errors.ts';

export type Form =
  | { as: 'object'; mediaType: 'application/json' | 'application/yaml' }
  | {
      as: 'Table' | 'PartialObjectMetadata' | 'PartialObjectMetadataList';
      mediaType: 'application/json';
      version: string;
    };

interface Range {
  type: string;
  parameters: ReadonlyMap<string, string>;
  quality: number;
}

/** The media ranges of an Accept header, in order of preference. */
export function acceptRanges(header: string | undefined): Range[] {
  const ranges = (header || '*/*').split(',').map((part): Range => {
    const [type = '', ...rest] = part.split(';').map((word) => word.trim());
    const parameters = new Map(
      rest.map((word) => {
        const equals = word.indexOf('=');
        return [word.slice(0, equals).toLowerCase(), word.slice(equals + 1)] as const;
      }),
    );
    const quality = Number(parameters.get('q') ?? 1);
    return { type: type.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 0 : quality };
  });
  return ranges.filter(({ quality }) => quality > 0).sort((a, b) => b.quality - a.quality);
}

const ACCEPTED = ['application/json', 'application/yaml'];
const FORMS = new Set(['Table', 'PartialObjectMetadata', 'PartialObjectMetadataList']);

/** The form in which to send objects to this client. @throws ApiError 406 */
export function negotiate(header: string | undefined): Form {
  for (const { type, parameters } of acceptRanges(header)) {
    if (type !== 'application/json' && type !== 'application/yaml' && type !== '*/*' && type !== 'application/*')
      continue;
    const as = parameters.get('as');
    if (as === undefined) {
      return { as: 'object', mediaType: type === 'application/yaml' ? type : 'application/json' };
    }
    const version = parameters.get('v') ?? 'v1';
    const known = parameters.get('g') === 'meta.k8s.io' && (version === 'v1' || version === 'v1beta1') && FORMS.has(as);
    if (known && type === 'application/json') return { as: as as 'Table', mediaType: type, version };
  }
  throw notAcceptable(ACCEPTED);
}
