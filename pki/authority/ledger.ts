/** The append-only record of what an authority intended to sign, signed, and revoked: one JSON object per line. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, truncateSync } from 'node:fs';
import { PkiError } from '../errors.ts';
import type { CrlReason } from '../crl.ts';
import { appendDurably } from './files.ts';
import type { CertificateKind, PkiName } from './profiles.ts';

const lineFeed = 0x0a;

export type LedgerKind = 'ca' | CertificateKind;

export interface LedgerEntry {
  /** `intended` is written before signing: whatever was signed is in the ledger, even after a crash. */
  readonly event: 'intended' | 'issued' | 'revoked';
  /** ISO 8601, as `notAfter`. */
  readonly at: string;
  /** Hexadecimal. */
  readonly serial: string;
  readonly subject: string;
  /** Name of the issuing CA: `root`, or its common name. */
  readonly issuer: string;
  readonly kind: LedgerKind;
  readonly pki: PkiName;
  readonly notAfter: string;
  /** Of a certificate that is good for enrolment alone. */
  readonly scope?: 'enrolment';
  /** Of the certificate, hexadecimal; with `issued`. */
  readonly sha256?: string;
  /** With `revoked`. */
  readonly reason?: CrlReason;
}

export function appendToLedger(path: string, entries: readonly LedgerEntry[]): void {
  appendDurably(path, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
}

/** @throws PkiError `pki.authority_missing` if a line is not an entry */
export function readLedger(path: string): LedgerEntry[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  lines.pop(); // what follows the last line feed: nothing, or a line cut off by a crash before it was acknowledged
  return lines.map((line, index) => {
    const entry = parseEntry(line);
    if (entry === undefined)
      throw new PkiError('pki.authority_missing', `${path}: line ${index + 1} is damaged`);
    return entry;
  });
}

/** Cuts off half a line that a crash left, so that the next one does not continue it. */
export function repairLedger(path: string): void {
  if (!existsSync(path) || endsInLineFeed(path)) return;
  truncateSync(path, readFileSync(path).lastIndexOf(lineFeed) + 1);
}

function endsInLineFeed(path: string): boolean {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const last = Buffer.alloc(1);
    return size === 0 || (readSync(file, last, 0, 1, size - 1) === 1 && last[0] === lineFeed);
  } finally {
    closeSync(file);
  }
}

function parseEntry(line: string): LedgerEntry | undefined {
  let entry: unknown;
  try {
    entry = JSON.parse(line);
  } catch {
    return undefined; // the caller names the line
  }
  if (typeof entry !== 'object' || entry === null) return undefined;
  const fields: Partial<Record<keyof LedgerEntry, unknown>> = entry;
  const texts = [
    fields.event,
    fields.at,
    fields.serial,
    fields.subject,
    fields.issuer,
    fields.kind,
    fields.notAfter,
  ];
  return texts.every((text) => typeof text === 'string') ? (entry as LedgerEntry) : undefined;
}
