/** Text in pieces to lines, each with its number and bounded in length. */
import { CollectorError } from './collector.ts';

export interface Line {
  /** From 1. */
  readonly number: number;
  /** Without its end; undefined if the line is not whole, and then `fault` says why. */
  readonly text: string | undefined;
  readonly fault?: 'line-too-long' | 'truncated' | 'damaged';
}

/** A line of any format that we read: 10,000 channels of 100 characters would still fit. */
export const lineLengthMax = 1024 * 1024;

/**
 * Splits at LF or CRLF. A last line without an end counts, unless the source broke off: half a number reads
 * like a number.
 *
 * @param lengthMax - a longer line is skipped to its end and comes as a fault
 * @throws what `pieces` throws, other than `collector.truncated` and `collector.damaged`, which become a last fault
 */
export async function* readLines(
  pieces: AsyncIterable<string>,
  lengthMax = lineLengthMax,
): AsyncGenerator<readonly Line[], void, undefined> {
  const splitter = new LineSplitter(lengthMax);
  try {
    for await (const piece of pieces) {
      const lines = splitter.push(piece);
      if (lines.length > 0) yield lines;
    }
  } catch (error) {
    if (!(error instanceof CollectorError)) throw error;
    if (error.code === 'collector.truncated') yield [splitter.broken('truncated')];
    else if (error.code === 'collector.damaged') yield [splitter.broken('damaged')];
    else throw error;
    return;
  }
  const last = splitter.last();
  if (last !== undefined) yield [last];
}

class LineSplitter {
  readonly #lengthMax: number;
  #number = 1;
  #rest = '';
  #skipping = false;

  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax;
  }

  push(piece: string): Line[] {
    const lines: Line[] = [];
    let start = 0;
    for (let end = piece.indexOf('\n'); end !== -1; end = piece.indexOf('\n', start)) {
      lines.push(this.#whole(this.#rest + piece.slice(start, end)));
      this.#rest = '';
      start = end + 1;
    }
    this.#rest += piece.slice(start);
    if (this.#rest.length > this.#lengthMax) {
      this.#skipping = true;
      this.#rest = '';
    }
    return lines;
  }

  last(): Line | undefined {
    return this.#rest === '' && !this.#skipping ? undefined : this.#whole(this.#rest);
  }

  broken(fault: 'truncated' | 'damaged'): Line {
    return { number: this.#number, text: undefined, fault };
  }

  #whole(text: string): Line {
    const number = this.#number++;
    const skipped = this.#skipping || text.length > this.#lengthMax;
    this.#skipping = false;
    if (skipped) return { number, text: undefined, fault: 'line-too-long' };
    return { number, text: text.endsWith('\r') ? text.slice(0, -1) : text };
  }
}
