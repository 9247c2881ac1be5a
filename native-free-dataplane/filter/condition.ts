/** The meaning of a filter expression: conditions on fields of a frame, joined by and, or, not. */
import type { Op } from './program.ts';

export type Size = 1 | 2 | 4;

/** A field of the frame, by its offset; behind an IPv4 header of variable length if `header` is that header's offset. */
export interface Field {
  readonly offset: number;
  readonly size: Size;
  readonly header?: number;
}

export type Condition =
  | {
      readonly kind: 'test';
      readonly field: Field;
      readonly mask: number;
      readonly op: typeof Op.TEST_EQUAL | typeof Op.TEST_GREATER | typeof Op.TEST_AT_LEAST;
      readonly value: number;
    }
  | {
      readonly kind: 'compare';
      readonly op: typeof Op.EQUAL | typeof Op.GREATER | typeof Op.AT_LEAST;
      readonly left: Arithmetic;
      readonly right: Arithmetic;
    }
  | { readonly kind: 'and' | 'or'; readonly left: Condition; readonly right: Condition }
  | { readonly kind: 'not'; readonly of: Condition };

export type Arithmetic =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'length' }
  /** The field at `base` plus the index. */
  | { readonly kind: 'load'; readonly base: Field; readonly index: Arithmetic }
  | { readonly kind: 'negate'; readonly of: Arithmetic }
  | { readonly kind: 'binary'; readonly op: Op; readonly left: Arithmetic; readonly right: Arithmetic };

export const and = (left: Condition, right: Condition): Condition => ({ kind: 'and', left, right });
export const or = (left: Condition, right: Condition): Condition => ({ kind: 'or', left, right });
export const not = (of: Condition): Condition => ({ kind: 'not', of });
