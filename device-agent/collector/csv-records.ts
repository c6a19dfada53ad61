/** CSV text to records (RFC 4180), each with the line on which it begins. */
import { CollectorError } from './collector.ts';

export type CsvRecord =
  | { readonly line: number; readonly fields: readonly string[] }
  | { readonly line: number; readonly fault: 'bad-quotes' | 'line-too-long' | 'truncated' | 'damaged' };

/** A record may span lines inside quotes; this also bounds what a quote that never closes can swallow. */
export const recordLengthMax = 64 * 1024;

/**
 * Reads records. Lines may end in CRLF or LF. After a fault, reading goes on at the next line, so that one stray
 * quote costs one line and not the rest of the file. Empty lines are left out.
 *
 * @param delimiter - one character
 * @throws what `pieces` throws, other than `collector.truncated` and `collector.damaged`, which become a last fault
 */
export async function* readCsvRecords(
  pieces: AsyncIterable<string>,
  delimiter = ',',
): AsyncGenerator<readonly CsvRecord[], void, undefined> {
  const reader = new RecordReader(delimiter);
  try {
    for await (const piece of pieces) yield reader.push(piece);
  } catch (error) {
    if (!(error instanceof CollectorError)) throw error;
    if (error.code === 'collector.truncated') yield [{ line: reader.line, fault: 'truncated' }];
    else if (error.code === 'collector.damaged') yield [{ line: reader.line, fault: 'damaged' }];
    else throw error;
    return;
  }
  yield reader.finish();
}

type Parsed =
  | { readonly kind: 'record'; readonly fields: string[]; readonly next: number }
  | { readonly kind: 'bad-quotes' }
  | { readonly kind: 'incomplete' };

class RecordReader {
  readonly #delimiter: string;
  #text = '';
  /** Whether what comes next still belongs to a line that was given up. */
  #skipping = false;
  /** Where the next record begins. */
  line = 1;

  constructor(delimiter: string) {
    this.#delimiter = delimiter;
  }

  push(piece: string): CsvRecord[] {
    if (!this.#skipping) {
      this.#text += piece;
      return this.#read(false);
    }
    const end = piece.indexOf('\n');
    if (end === -1) return [];
    this.#skipping = false;
    this.#text = piece.slice(end + 1);
    return this.#read(false);
  }

  finish(): CsvRecord[] {
    return this.#read(true);
  }

  #read(atEnd: boolean): CsvRecord[] {
    const records: CsvRecord[] = [];
    let position = 0;
    while (position < this.#text.length) {
      const parsed = parseRecord(this.#text, position, this.#delimiter, atEnd);
      if (parsed.kind === 'record') {
        const { line } = this;
        this.line += countLines(this.#text, position, parsed.next);
        position = parsed.next;
        if (parsed.fields.length > 1 || parsed.fields[0] !== '')
          records.push({ line, fields: parsed.fields });
        continue;
      }
      const tooLong = this.#text.length - position > recordLengthMax;
      if (parsed.kind === 'incomplete' && !atEnd && !tooLong) break;
      const end = this.#text.indexOf('\n', position);
      if (end === -1 && !atEnd && !tooLong) break;
      records.push({
        line: this.line++,
        fault: parsed.kind === 'incomplete' && tooLong ? 'line-too-long' : 'bad-quotes',
      });
      this.#skipping = end === -1;
      position = end === -1 ? this.#text.length : end + 1;
    }
    this.#text = this.#text.slice(position);
    return records;
  }
}

function parseRecord(text: string, start: number, delimiter: string, atEnd: boolean): Parsed {
  const fields: string[] = [];
  let position = start;
  for (;;) {
    let field: string;
    if (text[position] === '"') {
      const close = closingQuote(text, position + 1);
      // A quote at the very end may be the first half of an escaped one.
      if (close === -1 || (close === text.length - 1 && !atEnd)) return { kind: 'incomplete' };
      field = text.slice(position + 1, close).replaceAll('""', '"');
      position = close + 1;
    } else {
      const end = fieldEnd(text, position, delimiter);
      if (end === text.length && !atEnd) return { kind: 'incomplete' };
      field = text.slice(position, end);
      if (field.includes('"')) return { kind: 'bad-quotes' }; // RFC 4180 §2 rule 5
      position = end;
    }
    fields.push(field);
    if (text[position] === delimiter) {
      position += 1;
      if (position === text.length && !atEnd) return { kind: 'incomplete' };
      continue;
    }
    if (text[position] === '\r' && position + 1 === text.length && !atEnd) return { kind: 'incomplete' };
    if (text[position] === '\r' && (text[position + 1] === '\n' || position + 1 === text.length))
      position += 1;
    if (position >= text.length) return { kind: 'record', fields, next: text.length };
    if (text[position] === '\n') return { kind: 'record', fields, next: position + 1 };
    return { kind: 'bad-quotes' }; // something between a closing quote and the delimiter
  }
}

/** @returns where the quoted field that begins at `from` closes, or -1 */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 2)) {
    if (text[at + 1] !== '"') return at;
  }
  return -1;
}

function fieldEnd(text: string, from: number, delimiter: string): number {
  let end = from;
  while (end < text.length && text[end] !== delimiter && text[end] !== '\n') end += 1;
  // A carriage return belongs to the line's end, and only there.
  return text[end] !== delimiter && end > from && text[end - 1] === '\r' ? end - 1 : end;
}

function countLines(text: string, from: number, to: number): number {
  let lines = 0;
  for (let at = text.indexOf('\n', from); at !== -1 && at < to; at = text.indexOf('\n', at + 1)) lines += 1;
  return lines;
}
