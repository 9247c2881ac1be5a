/** A mistake in a filter expression. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
  /** Column of the mistake, from 1; 0 if it concerns the whole expression. */
  readonly column: number;

  constructor(what: string, column = 0) {
    super(column === 0 ? what : `column ${column}: ${what}`);
    this.column = column;
  }
}
