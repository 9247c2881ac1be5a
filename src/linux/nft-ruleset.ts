/** The rule set of a network namespace, as nft lists it: the rules of all programs, in the tables of all families. */
import { spawnSync } from 'node:child_process';

/** The command that lists that of the calling thread's namespace. */
export const LIST_RULESET = ['nft', ['-j', 'list', 'ruleset']] as const;
/** Limit of its output. kube-proxy's rules for thousands of services take tens of megabytes. */
export const MAX_RULESET_BYTES: number = 256 << 20;

/** That output; undefined without nft. */
export function listRuleset(): string | undefined {
  const [program, args] = LIST_RULESET;
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: MAX_RULESET_BYTES });
  return status === 0 ? stdout : undefined;
}

/** A match, verdict or other part of a rule, by its name: `{ "drop": null }`. */
export type RuleStatement = Readonly<Record<string, unknown>>;

/** One object of the list: the properties that are used here (libnftables-json(5)). */
export interface RulesetObject {
  readonly table?: { readonly family: string; readonly name: string };
  readonly chain?: {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    /** This and what follows: only of chains that the kernel's hooks call. */
    readonly hook?: string;
    readonly type?: string;
    readonly prio?: number;
    readonly policy?: string;
    readonly dev?: string;
  };
  readonly rule?: {
    readonly family: string;
    readonly table: string;
    readonly chain: string;
    readonly handle: number;
    readonly expr?: readonly RuleStatement[];
  };
}

/** @param json output of LIST_RULESET */
export const rulesetObjects = (json: string): readonly RulesetObject[] =>
  (JSON.parse(json) as { nftables: readonly RulesetObject[] }).nftables;
