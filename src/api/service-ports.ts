/** Ports of a Service as users refer to them. */

/** The port with this name, or with this number as text. */
export function servicePortNamed<P extends { readonly name?: string; readonly port: number }>(
  ports: readonly P[],
  wanted: string,
): P | undefined {
  return ports.find(({ name, port }) => name === wanted || String(port) === wanted);
}
