/**
 * Turns the reports of the traced build, for one frame at a time, into steps: which stage ran, what it read and
 * changed, what it decided and in which source line. A stage without a description (describe.ts) is a step if it ended
 * the packet or changed a byte of it, so that a new stage is visible without changes here.
 */
import type { Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import { changedFields, type FrameFields, frameFields } from '../../../native-free-dataplane/print/fields.ts';
import type { Tracer } from '../../../native-free-dataplane/trace/probe.ts';
import { Verdict, verdictName } from '../../../native-free-dataplane/verdicts.ts';
import type { Call, Described } from './asked.ts';
import { DESCRIPTIONS } from './describe.ts';
import { hexOf } from './hex.ts';
import type { StepNames } from './names.ts';
import type { Step } from './step.ts';

const isStage = (file: string): boolean => /\/(stages|overlay)\/|\/transmit\.ts$/.test(file);

/** Steps of one frame. */
export class Recorder implements Tracer {
  readonly steps: Step[] = [];
  /** Called when the verdict is known, while the packet is still the received one and not replaced by a reply. */
  onVerdict: (verdict: string) => void = () => {};
  private readonly pkt: Packet;
  private readonly dp: Dataplane;
  private readonly names: StepNames;
  private readonly open: Call[] = [];
  private readonly done = new Set<string>();
  /** The call that is the current step, and the frame before it; nested calls are not steps. */
  private step: { call: Call; before: FrameFields; frame: string | undefined } | undefined;
  private readonly withFrames: boolean;

  /** @param withFrames whether steps that change the frame keep its bytes */
  constructor(pkt: Packet, dp: Dataplane, names: StepNames, withFrames = false) {
    this.pkt = pkt;
    this.dp = dp;
    this.names = names;
    this.withFrames = withFrames;
  }

  enter(file: string, name: string, judges: boolean, args: ArrayLike<unknown>): void {
    const call: Call = { file, name, judges, args: Array.from(args), calls: [], line: 0, result: undefined };
    this.open.at(-1)?.calls.push(call);
    this.open.push(call);
    if (this.step === undefined && isStage(file) && DESCRIPTIONS[name] !== 'passes') {
      this.step = { call, before: this.fields(), frame: this.frame() };
    }
  }

  leave(line: number, result: unknown): void {
    const call = this.open.pop();
    if (call === undefined) return;
    call.line = line;
    call.result = result;
    if (call === this.step?.call) this.finish(call, this.step.before, this.step.frame);
    // The pipeline itself decided, not one of its stages.
    if (call.name === 'receive') {
      this.concludeIn(call);
      this.onVerdict(verdictName(result as number));
    }
    this.done.add(call.name);
  }

  private fields(): FrameFields {
    return frameFields(this.pkt.view, this.pkt.start, this.pkt.end);
  }

  /** Undefined unless frames are kept. */
  private frame(): string | undefined {
    const { bytes, start, end } = this.pkt;
    return this.withFrames ? hexOf(bytes.subarray(start, end)) : undefined;
  }

  private finish(call: Call, before: FrameFields, frame: string | undefined): void {
    this.step = undefined;
    const description = DESCRIPTIONS[call.name];
    const ends = call.judges && call.result !== Verdict.GO_ON;
    const described: Described | undefined =
      typeof description === 'function'
        ? description({ call, pkt: this.pkt, dp: this.dp, names: this.names, done: this.done })
        : undefined;
    const changed = described?.replaced ? undefined : changedFields(before, this.fields());
    if (described?.row === undefined && changed === undefined && !ends) return;
    const after = this.frame();
    this.steps.push({
      stage: described?.stage ?? wordsOf(call.name),
      source: decision(call),
      ...(described?.table !== undefined && { table: described.table }),
      ...(described?.row !== undefined && { row: described.row }),
      ...changed,
      ...(frame !== undefined && after !== undefined && frame !== after && { frames: { before: frame, after } }),
      ...(ends && { verdict: verdictName(call.result as number) }),
    });
  }

  private concludeIn(call: Call): void {
    const verdict = verdictName(call.result as number);
    if (this.steps.some((step) => step.verdict === verdict) || call.result === Verdict.GO_ON) return;
    const last = this.steps.at(-1);
    // The verdict belongs to the step that sent the frame.
    if (last !== undefined && last.stage === 'send') this.steps[this.steps.length - 1] = { ...last, verdict };
    else this.steps.push({ stage: wordsOf(deepest(call).name), source: decision(call), verdict });
  }
}

/** The innermost call whose result its callers returned unchanged: its `return` decided. */
function deepest(call: Call): Call {
  const last = call.calls.at(-1);
  return call.judges && last?.judges && last.result === call.result ? deepest(last) : call;
}

function decision(call: Call): string {
  const { file, line } = deepest(call);
  return `${file}:${line}`;
}

/** `forwardIcmpError` → `forward icmp error`. */
function wordsOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
