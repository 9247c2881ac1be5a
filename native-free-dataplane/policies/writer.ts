/** Puts policies in force: writes the image that is not in use, and publishes it. Only the agent does. */
import type { PolicyContents } from './contents.ts';
import { Image } from './image.ts';
import { RuleNumbers } from './rules.ts';
import { type PolicyTable, publishImage, spareImageAt } from './table.ts';

export class PolicyWriter {
  private readonly table: PolicyTable;
  private readonly numbers: RuleNumbers;
  /** What is known of the images, by their first words. */
  private readonly images = new Map<number, Image>();

  constructor(table: PolicyTable) {
    this.table = table;
    this.numbers = new RuleNumbers(table);
  }

  /**
   * Put the contents in force. The image that is not in use is changed where it differs from them.
   * @throws RangeError if they do not fit; the image in use stays
   */
  write(contents: PolicyContents): void {
    const at = spareImageAt(this.table);
    this.numbers.begin();
    const known = this.images.get(at);
    if (known?.update(contents) !== true) {
      this.images.delete(at);
      known?.release();
      const made = new Image(this.table, this.numbers, at, contents);
      if (!made.update(contents)) throw new Error('an image has no room for what it was laid out for');
      this.images.set(at, made);
    }
    publishImage(this.table);
  }
}

/** Put contents in force that do not follow from earlier ones. @throws RangeError if they do not fit */
export function writePolicies(table: PolicyTable, contents: PolicyContents): void {
  new PolicyWriter(table).write(contents);
}
