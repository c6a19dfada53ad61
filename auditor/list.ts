/** Reads the record of what left, also while the auditor runs. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { bytesOf } from '../runtime/sqlite-file.ts';
import type { EgressEntry, NamedRecipient } from './record.ts';
import { RecordError, recordFileName } from './record.ts';

export interface ListingOptions {
  /** A device or an account: what lies within it. Default: everything. */
  readonly within?: string;
  readonly alarmsOnly?: boolean;
  /** The newest so many; default 100. */
  readonly entriesMax?: number;
}

export interface Listing {
  /** Of the whole record. */
  readonly totals: { readonly entries: number; readonly alarms: number; readonly bytes: number };
  /** Oldest first. */
  readonly entries: readonly EgressEntry[];
}

const entriesDefault = 100;

/**
 * @param dataDirectory - the `data` of the auditor's configuration
 * @throws RecordError `record.storage` if there is no record
 */
export function auditorListing(dataDirectory: string, options: ListingOptions = {}): Listing {
  const file = path.join(dataDirectory, recordFileName);
  if (!existsSync(file)) throw new RecordError('record.storage', `${file}: there is no record yet`);
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const totals = database
      .prepare(
        'SELECT count(*) AS entries, count(alarm) AS alarms, coalesce(sum(bytes), 0) AS bytes FROM egress',
      )
      .get();
    const rows = database
      .prepare(
        `SELECT * FROM egress
         WHERE (:within IS NULL OR device = :within OR substr(device, 1, length(:within) + 1) = :within || '/')
           AND (:alarmsOnly = 0 OR alarm IS NOT NULL)
         ORDER BY id DESC LIMIT :limit`,
      )
      .all({
        within: options.within ?? null,
        alarmsOnly: options.alarmsOnly === true ? 1 : 0,
        limit: options.entriesMax ?? entriesDefault,
      });
    return {
      totals: {
        entries: Number(totals?.['entries']),
        alarms: Number(totals?.['alarms']),
        bytes: Number(totals?.['bytes']),
      },
      entries: rows.map(entryOf).toReversed(),
    };
  } catch (cause) {
    if (cause instanceof RecordError) throw cause;
    throw new RecordError('record.storage', `cannot read ${file}: ${String(cause)}`, { cause });
  } finally {
    database.close();
  }
}

/** @returns one line an entry, and one with the totals */
export function listingText({ totals, entries }: Listing): string {
  const lines = entries.map((entry) => {
    const time = new Date(entry.signingTimeMs ?? entry.receivedMs).toISOString();
    const recipients = entry.recipients
      .map(({ name, identifier }) => name ?? `UNKNOWN ${identifier}`)
      .join(', ');
    const channels = entry.channels === undefined ? '' : `, ${entry.channels} channels`;
    const verdict = entry.alarm === undefined ? 'ok' : `ALARM ${entry.alarm.reason}: ${entry.alarm.detail}`;
    const what = `${entry.device} ${entry.topicName} #${entry.sequence ?? '?'}`;
    return `${time}  ${what}  ${entry.bytes} bytes${channels}  for ${recipients || 'nobody known'}  ${verdict}`;
  });
  return [...lines, `${totals.entries} envelopes, ${totals.bytes} bytes, ${totals.alarms} alarms`].join('\n');
}

/** An entry as JSON: the digest in hexadecimal. */
export function entryToJson(entry: EgressEntry): object {
  return { ...entry, digest: entry.digest.toString('hex') };
}

function entryOf(row: Readonly<Record<string, unknown>>): EgressEntry {
  const number = (name: string): number | undefined => (row[name] === null ? undefined : Number(row[name]));
  const alarm = row['alarm'];
  return {
    device: String(row['device']),
    topicName: String(row['topic_name']),
    sequence: number('sequence'),
    signingTimeMs: number('signing_ms'),
    receivedMs: Number(row['received_ms']),
    recipients: recipientsOf(String(row['recipients'])),
    channels: number('channels'),
    digest: bytesOf(row['digest']),
    bytes: Number(row['bytes']),
    alarm: typeof alarm === 'string' ? { reason: alarm, detail: String(row['detail']) } : undefined,
  };
}

/** Our own column, written by `EgressRecord`. */
function recipientsOf(text: string): NamedRecipient[] {
  const list = JSON.parse(text) as { identifier: string; name?: string }[];
  return list.map(({ identifier, name }) => ({ identifier, name }));
}
