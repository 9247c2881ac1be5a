/**
 * The version 2 document as protobuf (`openapi.v2.Document` of gnostic), the only form that kubectl requests. Its shape
 * differs from the JSON: every map is a list of names and values; extensions and arbitrary values are YAML strings.
 */
import { messageType } from '../protobuf/root.ts';
import { OPENAPI_V2 } from '../published/types.ts';
import type { OpenApiSchema } from './definitions.ts';

export const PROTOBUF_V2 = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
/** The response's media type: Go rejects media types with an @ (kube-openapi/pkg/handler). */
export const ANSWERED_V2 = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

type Json = Record<string, unknown>;

/** Encodes a document of `openApiV2`. */
export function encodeV2(document: OpenApiSchema): Uint8Array {
  const type = messageType(`${OPENAPI_V2}.Document`);
  const message = {
    swagger: document.swagger,
    info: document.info,
    paths: { path: named(document.paths as Json, pathItem) },
    definitions: { additional_properties: named(document.definitions as Json, schema) },
  };
  return type.encode(type.fromObject(message)).finish();
}

function named(map: Json, convert: (value: Json) => object): object[] {
  return Object.entries(map).map(([name, value]) => ({ name, value: convert(value as Json) }));
}

/** JSON is YAML. */
const any = (value: unknown) => ({ yaml: JSON.stringify(value) });

const extensions = (object: Json) => ({
  vendor_extension: Object.entries(object)
    .filter(([name]) => name.startsWith('x-'))
    .map(([name, value]) => ({ name, value: any(value) })),
});

function schema(from: Json): object {
  const {
    $ref,
    type,
    items,
    additionalProperties,
    properties,
    required,
    description,
    format,
    default: fallback,
  } = from;
  return {
    ...($ref !== undefined && { _ref: $ref }),
    ...(description !== undefined && { description }),
    ...(format !== undefined && { format }),
    ...(type !== undefined && { type: { value: [type] } }),
    ...(required !== undefined && { required }),
    ...(fallback !== undefined && { default: any(fallback) }),
    ...(from.enum !== undefined && { enum: (from.enum as unknown[]).map(any) }),
    ...(items !== undefined && { items: { schema: [schema(items as Json)] } }),
    ...(additionalProperties !== undefined && {
      additional_properties:
        typeof additionalProperties === 'boolean'
          ? { boolean: additionalProperties }
          : { schema: schema(additionalProperties as Json) },
    }),
    ...(properties !== undefined && { properties: { additional_properties: named(properties as Json, schema) } }),
    ...extensions(from),
  };
}

function pathItem({ parameters, ...verbs }: Json): object {
  const operations = Object.entries(verbs).map(([verb, of]) => [verb, operation(of as Json)]);
  return { ...Object.fromEntries(operations), ...(parameters !== undefined && { parameters: all(parameters) }) };
}

function operation(from: Json): object {
  const { description, operationId, tags, consumes, produces, parameters, responses } = from;
  const answers = named(responses as Json, (response) => ({
    response: { description: response.description, schema: { schema: schema(response.schema as Json) } },
  }));
  return {
    description,
    operation_id: operationId,
    tags,
    consumes,
    produces,
    parameters: all(parameters),
    responses: { response_code: answers },
    ...extensions(from),
  };
}

const all = (parameters: unknown) => (parameters as Json[]).map((of) => ({ parameter: parameter(of) }));

function parameter({ in: where, schema: body, uniqueItems, ...rest }: Json): object {
  if (where === 'body') return { body_parameter: { ...rest, in: where, schema: schema(body as Json) } };
  const value = { ...rest, in: where, ...(uniqueItems === true && { unique_items: true }) };
  return {
    non_body_parameter: where === 'path' ? { path_parameter_sub_schema: value } : { query_parameter_sub_schema: value },
  };
}
