/** Reads the record of what passed, also while the auditor runs. */
import { closeSync, existsSync, openSync } from 'node:fs';
import path from 'node:path';
import { LedgerError } from '../ledger/errors.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { readLeaves } from '../ledger/ledger-file.ts';
import { readSqliteFile } from '../runtime/sqlite-file.ts';
import { indexFileName } from './record-index.ts';
import { ledgerFileName, RecordError } from './record.ts';

export interface ListingOptions {
  /** A device or an account: what lies within it. Default: everything. */
  readonly within?: string;
  readonly alarmsOnly?: boolean;
  /** The newest so many; default 100. */
  readonly entriesMax?: number;
}

export type ListedEntry = PassageLeaf & { readonly number: number };

export interface Listing {
  /** Of the whole record. */
  readonly totals: { readonly entries: number; readonly alarms: number; readonly bytes: number };
  /** Oldest first. */
  readonly entries: readonly ListedEntry[];
}

const entriesDefault = 100;

/**
 * @param dataDirectory - the `data` of the auditor's configuration
 * @throws RecordError `record.storage` if there is no record, `record.damaged` if it is not what was written
 */
export function auditorListing(dataDirectory: string, options: ListingOptions = {}): Listing {
  const [file, indexFile] = [ledgerFileName, indexFileName].map((name) => path.join(dataDirectory, name));
  if (file === undefined || indexFile === undefined || !existsSync(file) || !existsSync(indexFile)) {
    throw new RecordError('record.storage', `${file}: there is no record yet`);
  }
  try {
    const { totals, positions } = lookUp(indexFile, options);
    return { totals, entries: readAt(file, positions) };
  } catch (cause) {
    if (cause instanceof LedgerError)
      throw new RecordError('record.damaged', `${file}: ${cause.message}`, { cause });
    throw new RecordError('record.storage', `cannot read ${file}: ${String(cause)}`, { cause });
  }
}

/** @returns one line an entry, and one with the totals */
export function listingText({ totals, entries }: Listing): string {
  const lines = entries.map(entryText);
  return [...lines, `${totals.entries} envelopes, ${totals.bytes} bytes, ${totals.alarms} alarms`].join('\n');
}

/** @returns for example `12  2026-01-01T00:00:00.000Z  ms-acc-1/acc-1/dev-1/snapshots #7  1000 bytes  for …  ok` */
export function entryText(entry: ListedEntry): string {
  const time = new Date(entry.signingTimeMs ?? entry.timeMs).toISOString();
  const recipients = entry.recipients
    .map(({ name, identifier }) => name ?? `UNKNOWN ${identifier}`)
    .join(', ');
  const channels = entry.channels === undefined ? '' : `, ${entry.channels.count} channels`;
  const what = `${entry.topic} #${entry.sequence ?? '?'}`;
  const size = `${entry.bytes} bytes${channels}`;
  return `${entry.number}  ${time}  ${what}  ${size}  for ${recipients || 'nobody known'}  ${verdictOf(entry)}`;
}

/** An entry as JSON: digests in hexadecimal. */
export function entryToJson({ kind: _kind, ...entry }: ListedEntry): object {
  const { digest, previousDigest, channels } = entry;
  return {
    ...entry,
    digest: digest.toString('hex'),
    previousDigest: previousDigest?.toString('hex'),
    channels: channels && { count: channels.count, digest: channels.digest.toString('hex') },
  };
}

function verdictOf({ alarm, outcome, decidedBy }: PassageLeaf): string {
  const decided =
    outcome === 'passed' ? '' : `${outcome}${decidedBy === undefined ? '' : ` by ${decidedBy}`}`;
  if (alarm === undefined) return decided || 'ok';
  return `${decided === '' ? '' : `${decided}, `}ALARM ${alarm.reason}: ${alarm.detail}`;
}

function lookUp(
  indexFile: string,
  { within, alarmsOnly = false, entriesMax = entriesDefault }: ListingOptions,
): { totals: Listing['totals']; positions: number[] } {
  const database = readSqliteFile(indexFile);
  try {
    const totals = database.prepare('SELECT entries, alarms, bytes FROM totals').get();
    const rows = database
      .prepare(
        `SELECT position FROM leaf
         WHERE stream IS NOT NULL
           AND (:within IS NULL OR stream = :within OR substr(stream, 1, length(:within) + 1) = :within || '/')
           AND (:alarmsOnly = 0 OR reason IS NOT NULL)
         ORDER BY number DESC LIMIT :limit`,
      )
      .all({ within: within ?? null, alarmsOnly: alarmsOnly ? 1 : 0, limit: entriesMax });
    return {
      totals: {
        entries: Number(totals?.['entries']),
        alarms: Number(totals?.['alarms']),
        bytes: Number(totals?.['bytes']),
      },
      positions: rows.map((row) => Number(row['position'])).toReversed(),
    };
  } finally {
    database.close();
  }
}

function readAt(file: string, positions: readonly number[]): ListedEntry[] {
  const descriptor = openSync(file, 'r');
  try {
    return positions.flatMap((position) =>
      readLeaves(descriptor, position, 1).flatMap(({ leaf }) => (leaf.kind === 'passage' ? [leaf] : [])),
    );
  } finally {
    closeSync(descriptor);
  }
}
