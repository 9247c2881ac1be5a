/**
 * Kubernetes quantities (apimachinery/pkg/api/resource): `100m`, `0.5`, `64Mi`, `1e3`. Exact, as a whole number of
 * nanos, the smallest unit. Printed in canonical form, with the suffixes of the first operand.
 */
type Format = 'decimal' | 'binary' | 'exponent';

const NANO = 10n ** 9n;

const DECIMAL: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const DECIMAL_SUFFIX = new Map(Object.entries(DECIMAL).map(([suffix, exponent]) => [exponent, suffix]));
const BINARY = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

const PATTERN = /^([+-]?)([0-9]*)(?:\.([0-9]*))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?$/;

/** The maximum; larger numbers are reduced to it (resource.maxAllowed). */
const MAX = (2n ** 63n - 1n) * NANO;

export class Quantity {
  readonly nanos: bigint;
  private readonly format: Format;

  constructor(nanos: bigint, format: Format = 'decimal') {
    this.nanos = nanos > MAX ? MAX : nanos < -MAX ? -MAX : nanos;
    this.format = format;
  }

  static readonly ZERO: Quantity = new Quantity(0n);
  static readonly ONE: Quantity = new Quantity(NANO);

  static of(number: number): Quantity {
    return new Quantity(BigInt(Math.trunc(number)) * NANO);
  }

  static ofMillis(millis: number): Quantity {
    return new Quantity(BigInt(Math.trunc(millis)) * (NANO / 1000n));
  }

  /** A number of bytes, printed with Ki, Mi and so on. */
  static ofBytes(bytes: number): Quantity {
    return new Quantity(BigInt(Math.trunc(bytes)) * NANO, 'binary');
  }

  /** Undefined if the text is not a quantity. Fractions of a nano are rounded away from zero. */
  static parse(given: string | number | undefined): Quantity | undefined {
    const match = PATTERN.exec(String(given));
    if (given === undefined || match === null) return undefined;
    const [, sign, whole = '', fraction = '', suffix = '', exponent] = match;
    if (whole === '' && fraction === '') return undefined;
    const digits = BigInt(whole + fraction);
    const binary = suffix.endsWith('i');
    const power = (exponent === undefined ? (binary ? 0 : DECIMAL[suffix]!) : Number(exponent)) - fraction.length + 9;
    const unit = binary ? 1024n ** BigInt(BINARY.indexOf(suffix)) : 1n;
    const nanos = power >= 0 ? digits * unit * 10n ** BigInt(power) : roundUp(digits * unit, 10n ** BigInt(-power));
    const format = binary ? 'binary' : exponent === undefined ? 'decimal' : 'exponent';
    return new Quantity(sign === '-' ? -nanos : nanos, format);
  }

  /** Zero if the text is not a quantity. */
  static from(given: string | number | undefined): Quantity {
    return Quantity.parse(given) ?? Quantity.ZERO;
  }

  /** Undefined if the text is not a quantity, or not above zero: a request or limit of zero is none (kubelet, qos.go). */
  static positive(given: string | number | undefined): Quantity | undefined {
    const quantity = Quantity.parse(given);
    return quantity !== undefined && quantity.nanos > 0n ? quantity : undefined;
  }

  /** The sum, with the suffixes of this one, or those of the other if this one is zero. */
  plus(other: Quantity): Quantity {
    return new Quantity(this.nanos + other.nanos, this.nanos === 0n ? other.format : this.format);
  }

  minus(other: Quantity): Quantity {
    return this.plus(new Quantity(-other.nanos, other.format));
  }

  max(other: Quantity): Quantity {
    return this.nanos >= other.nanos ? this : other;
  }

  exceeds(other: Quantity): boolean {
    return this.nanos > other.nanos;
  }

  /** In thousandths, rounded up. */
  get millis(): number {
    return Number(roundUp(this.nanos, NANO / 1000n));
  }

  /** Rounded up to a whole number. */
  get value(): number {
    return Number(roundUp(this.nanos, NANO));
  }

  toString(): string {
    const { nanos } = this;
    if (nanos === 0n) return '0';
    const whole = nanos % NANO === 0n;
    const small = nanos > -1024n * NANO && nanos < 1024n * NANO;
    if (this.format === 'binary' && whole && !small) return binaryText(nanos / NANO);
    return decimalText(nanos, this.format === 'exponent');
  }
}

const roundUp = (dividend: bigint, divisor: bigint): bigint => {
  const quotient = dividend / divisor;
  const exact = quotient * divisor === dividend;
  return exact ? quotient : quotient + (dividend < 0n ? -1n : 1n);
};

/** The number with the largest suffix that keeps it whole. */
function binaryText(value: bigint): string {
  let power = 0;
  let mantissa = value;
  while (mantissa % 1024n === 0n && power < BINARY.length - 1) {
    mantissa /= 1024n;
    power++;
  }
  return `${mantissa}${BINARY[power]}`;
}

function decimalText(nanos: bigint, exponential: boolean): string {
  let exponent = -9;
  let mantissa = nanos;
  while (mantissa % 1000n === 0n && exponent < 18) {
    mantissa /= 1000n;
    exponent += 3;
  }
  if (exponential) return exponent === 0 ? String(mantissa) : `${mantissa}e${exponent}`;
  return `${mantissa}${DECIMAL_SUFFIX.get(exponent)}`;
}

/** Amounts by resource name. */
export type Amounts = Record<string, Quantity>;

export function amountsOf(list: Readonly<Record<string, string | number>> | undefined): Amounts {
  return Object.fromEntries(Object.entries(list ?? {}).map(([name, text]) => [name, Quantity.from(text)]));
}

/** The sum per resource; a resource that only one has keeps its amount. */
export function sumOf(a: Amounts, b: Amounts): Amounts {
  const sum = { ...a };
  for (const [name, amount] of Object.entries(b)) sum[name] = sum[name]?.plus(amount) ?? amount;
  return sum;
}

export function largestOf(a: Amounts, b: Amounts): Amounts {
  const largest = { ...a };
  for (const [name, amount] of Object.entries(b)) largest[name] = largest[name]?.max(amount) ?? amount;
  return largest;
}
