/** `dataplane trace --pcap FILE --paths`: the frames of a capture through copies of the tables, one after the other. */
import { createReadStream } from 'node:fs';
import { type CapturedFrame, Direction } from '../../../native-free-dataplane/capture/frame.ts';
import { CaptureReader } from '../../../native-free-dataplane/capture/reader.ts';
import type { processTraced } from '../../../native-free-dataplane/trace/traced.ts';
import { MAX_FRAME_BYTES, MIN_FRAME_BYTES } from '../../observe/trace/frame-size.ts';
import type { Names } from '../../observe/trace/names.ts';
import type { NodeCopy } from '../../observe/trace/node-copy.ts';
import { Paths } from '../../observe/trace/paths.ts';
import type { Resolver } from '../../observe/trace/resolver.ts';
import type { NodeTrace } from '../../observe/trace/step.ts';
import { type Place, Walker } from '../../observe/trace/walk.ts';
import { failed } from '../errors.ts';

export interface PathsRequest {
  readonly file: string;
  /** Where frames start; undefined: each at the pod that has its source address, or outside. */
  readonly from: Place | undefined;
  readonly nodes: readonly NodeCopy[];
  readonly names: Names;
  readonly resolver: Resolver;
  readonly process: typeof processTraced;
  readonly nowMs: number;
}

export interface PathsFound {
  readonly paths: Paths;
  /** Frames that were not traced: what a node has sent, truncated, or not IPv4. */
  readonly leftOut: number;
  /** What is wrong with the file; '' if nothing is. */
  readonly damage: string;
}

/** @throws CliError if the file cannot be read */
export async function tracePaths(request: PathsRequest): Promise<PathsFound> {
  const paths = new Paths();
  const reader = new CaptureReader();
  let number = 0;
  let leftOut = 0;
  let startMs: number | undefined;
  const take = (): void => {
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
      number++;
      const atMs = frame.seconds * 1000 + frame.nanoseconds / 1e6;
      startMs ??= atMs;
      const traces = traceFrame(frame, request, request.nowMs + Math.max(0, Math.floor(atMs - startMs)));
      if (traces === undefined) leftOut++;
      else paths.add(traces, number);
    }
  };
  try {
    for await (const chunk of createReadStream(request.file)) {
      reader.push(chunk as Buffer);
      take();
    }
  } catch (error) {
    throw failed(`${request.file} cannot be read: ${(error as Error).message}`);
  }
  reader.end();
  return { paths, leftOut, damage: reader.damage };
}

function traceFrame(
  { bytes, originalBytes, source, options }: CapturedFrame,
  { from, nodes, names, resolver, process, nowMs }: PathsRequest,
  atMs: number,
): readonly NodeTrace[] | undefined {
  if (bytes.length < originalBytes || bytes.length < MIN_FRAME_BYTES || bytes.length > MAX_FRAME_BYTES)
    return undefined;
  const walker = new Walker(nodes, names, process, Math.max(nowMs, atMs));
  const captured = resolver.placeOfInterface(source.name);
  if (captured !== undefined && from === undefined) {
    // A capture of ours: each node was captured by itself, and what it sent is the result of what it received.
    if (((options.flags ?? 0) & 3) === Direction.OUTBOUND) return undefined;
    return [walker.receive(bytes, captured.node, captured.port)];
  }
  const start = from ?? resolver.placeOfFrameOrNone(bytes);
  if (start === undefined) return undefined;
  const traces = walker.forward(bytes, start);
  return traces.length > 0 ? traces : undefined;
}
