/** A program that runs containers by the OCI's runtime specification. */
export interface OciRuntime {
  name: 'crun' | 'runc';
  path: string;
}
