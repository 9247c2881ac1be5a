/** `/openapi/v3`: one document per group and version. `/openapi/v2`: one document for everything. */
import { META, typeNameOf } from '../published/types.ts';
import { apiRootOf, apiVersionOf, type Resource } from '../resources.ts';
import { Definitions, groupVersionKind, type OpenApiSchema, type Version } from './definitions.ts';
import { pathsOf } from './operations.ts';

const INFO = { title: 'Kubernetes', version: 'v1.34.0' };

/** Bodies that belong to no resource: those of deletions, patches and errors. */
const COMMON = ['DeleteOptions', 'Status', 'Patch'].map((name) => `${META}.${name}`);

function build(resources: readonly Resource[], version: Version): { paths: OpenApiSchema; schemas: OpenApiSchema } {
  const kinds = new Map<string, OpenApiSchema[]>();
  const types = new Map<Resource, string>();
  for (const resource of resources) {
    const type = resource.custom ? customName(resource) : typeNameOf(resource.group, resource.version, resource.kind);
    if (type === undefined) continue;
    types.set(resource, type);
    kinds.set(type, [groupVersionKind(resource, resource.kind)]);
    kinds.set(`${type}List`, [groupVersionKind(resource, `${resource.kind}List`)]);
  }
  kinds.set(
    `${META}.DeleteOptions`,
    [...new Map(resources.map((r) => [apiVersionOf(r), r])).values()].map((r) => groupVersionKind(r, 'DeleteOptions')),
  );
  kinds.set(`${META}.Status`, [{ group: '', kind: 'Status', version: 'v1' }]);
  const definitions = new Definitions(version, kinds);
  for (const [resource, type] of types) {
    if (resource.custom) definitions.addCustom(type, resource.custom.schema as OpenApiSchema);
  }
  for (const type of [...kinds.keys(), ...COMMON]) definitions.add(type);
  const paths: OpenApiSchema = {};
  for (const [resource, type] of types) Object.assign(paths, pathsOf(resource, type, version));
  return { paths, schemas: definitions.schemas };
}

/** `com.example.v1.Gadget` */
const customName = ({ group, version, kind }: Resource) => [...group.split('.').reverse(), version, kind].join('.');

/** `/openapi/v2` */
export function openApiV2(resources: readonly Resource[]): OpenApiSchema {
  const { paths, schemas } = build(resources, 'v2');
  return { swagger: '2.0', info: INFO, paths, definitions: schemas };
}

/** `/openapi/v3/apis/apps/v1` */
function openApiV3(resources: readonly Resource[]): OpenApiSchema {
  const { paths, schemas } = build(resources, 'v3');
  return { openapi: '3.0.0', info: INFO, paths, components: { schemas } };
}

/** All documents of version 3, each made when first asked for: path below `/openapi/v3/` → JSON. */
export class OpenApiV3 {
  private readonly groups = new Map<string, Resource[]>();
  private readonly documents = new Map<string, string>();
  private readonly edition: string;

  /** @param edition changes whenever the documents may have changed; clients cache by it */
  constructor(resources: readonly Resource[], edition: string) {
    this.edition = edition;
    for (const resource of resources) {
      const path = apiRootOf(resource).slice(1);
      this.groups.set(path, [...(this.groups.get(path) ?? []), resource]);
    }
  }

  index(): OpenApiSchema {
    const paths = [...this.groups.keys()].map((path) => {
      return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${this.edition}` }];
    });
    return { paths: Object.fromEntries(paths) };
  }

  document(path: string): string | undefined {
    const resources = this.groups.get(path);
    if (resources === undefined) return undefined;
    let text = this.documents.get(path);
    if (text === undefined) {
      text = JSON.stringify(openApiV3(resources));
      this.documents.set(path, text);
    }
    return text;
  }
}
