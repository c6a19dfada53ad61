/** What every collector yields: samples of a machine, and what it had to reject. */
import type { Snapshot } from '../../domain/snapshot.ts';

/** Why a line of a source was left out; a label of a counter, so the set is closed. */
export type RejectionReason =
  | 'column-count' // more or fewer fields than the header or the format has
  | 'not-a-number' // text, NaN or an infinity where a number stands
  | 'bad-value' // a value that no channel can hold
  | 'bad-time' // no ISO 8601 time with a zone, and no epoch time
  | 'bad-quotes' // a quote that RFC 4180 does not allow
  | 'bad-channel' // not a channel name, or one name twice
  | 'no-values' // nothing but a time
  | 'line-too-long'
  | 'not-json'
  | 'not-senml'
  | 'not-utf8'
  | 'truncated' // the compressed file ends too early
  | 'damaged'; // the compressed file does not decompress

export interface Sample {
  readonly kind: 'sample';
  /** As the source names the machine, for example an engine's number; undefined if the source has one machine only. */
  readonly device: string | undefined;
  readonly snapshot: Snapshot;
  /** Of a file, from 1: where an agent that was stopped goes on. */
  readonly line?: number;
}

export interface Rejection {
  readonly kind: 'rejected';
  /** Of the source, from 1. */
  readonly line: number;
  readonly reason: RejectionReason;
  /** In words for the log; at most `detailLengthMax` characters, and no more of the line than needed. */
  readonly detail: string;
}

export type Collected = Sample | Rejection;

/** Pulled one element at a time, so a full outbox slows the source down instead of filling memory. */
export type Collector = AsyncIterable<Collected>;

const detailLengthMax = 200;

export function rejection(line: number, reason: RejectionReason, detail: string): Rejection {
  return { kind: 'rejected', line, reason, detail: detail.slice(0, detailLengthMax) };
}

/** @returns a piece of a foreign line that is safe to quote in a log */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

/** The source itself cannot be read on. */
export class CollectorError extends Error {
  override readonly name = 'CollectorError';
  readonly code: 'collector.truncated' | 'collector.damaged' | 'collector.unreadable' | 'collector.format';
  constructor(code: CollectorError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
