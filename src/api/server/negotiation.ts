/** Content negotiation (RFC 9110 §12.5.1): which form of an object the client accepts. */
import { notAcceptable } from '../errors.ts';
import { PROTOBUF } from '../protobuf/envelope.ts';

export type Form =
  | { as: 'object'; mediaType: 'application/json' | 'application/yaml' | typeof PROTOBUF }
  | { as: 'Table'; mediaType: 'application/json'; version: string }
  | {
      as: 'PartialObjectMetadata' | 'PartialObjectMetadataList';
      mediaType: 'application/json' | typeof PROTOBUF;
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

const JSON_TYPE = 'application/json';
const YAML_TYPE = 'application/yaml';
const FORMS = new Set(['Table', 'PartialObjectMetadata', 'PartialObjectMetadataList']);

/**
 * The form in which to send objects to this client: the first acceptable one, as in apiserver/pkg/endpoints/handlers/
 * negotiation. Objects can be sent as protobuf if their kind has messages, tables never.
 * @param messages the kind has protobuf messages
 * @throws ApiError 406
 */
export function negotiate(header: string | undefined, messages: boolean): Form {
  const accepted = messages ? [JSON_TYPE, YAML_TYPE, PROTOBUF] : [JSON_TYPE, YAML_TYPE];
  for (const { type, parameters } of acceptRanges(header)) {
    const any = type === '*/*' || type === 'application/*';
    if (!any && !accepted.includes(type)) continue;
    const mediaType = (any ? JSON_TYPE : type) as typeof JSON_TYPE | typeof YAML_TYPE | typeof PROTOBUF;
    const as = parameters.get('as');
    if (as === undefined) return { as: 'object', mediaType };
    const version = parameters.get('v') ?? 'v1';
    const known = parameters.get('g') === 'meta.k8s.io' && (version === 'v1' || version === 'v1beta1') && FORMS.has(as);
    if (!known || any || mediaType === YAML_TYPE) continue;
    if (as !== 'Table') return { as: as as 'PartialObjectMetadata', mediaType, version };
    if (mediaType === JSON_TYPE) return { as, mediaType, version };
  }
  throw notAcceptable(accepted);
}
