/** Functions of validators.ts that exist when the program starts: none here, and those of all kinds in the bundle. */
import type { ValidateFunction } from 'ajv';

/** By `validatorName`. */
export const PREBUILT: Readonly<Record<string, ValidateFunction>> = {};
