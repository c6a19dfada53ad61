/** What was really recorded of devices: which there are, how often and how much each sends, and which channels. */
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Opener } from '../cms/open.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { ChannelValue } from '../domain/snapshot.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { readLeaves } from '../ledger/ledger-file.ts';
import { deviceOf } from '../ledger/stream.ts';
import { readSqliteFile } from '../runtime/sqlite-file.ts';
import { openArchived, snapshotIn } from './export-envelopes.ts';
import type { Archive } from './archive.ts';
import { indexFileName } from './record-index.ts';
import type { EgressRecord } from './record.ts';
import { ledgerFileName } from './record.ts';

/** Where they are found. */
export interface FactsSource {
  /** The auditor's data. */
  readonly directory: string;
  readonly record: Pick<EgressRecord, 'channelNames'>;
  readonly opener: Opener;
  /** Undefined: no envelope is kept. */
  readonly archive: Pick<Archive, 'newestOf'> | undefined;
}

export interface StreamFacts {
  /** The device, or one of its groups of readers. */
  readonly stream: string;
  readonly entries: number;
  /** Of the newest envelopes; undefined for fewer than two. */
  readonly meanIntervalMs: number | undefined;
  /** Of the newest envelopes. */
  readonly meanBytes: number;
  readonly lastMs: number;
}

export interface ChannelFacts {
  readonly channel: string;
  readonly unit: string | undefined;
  /** For example `number`; undefined if only names were recorded. */
  readonly type: string | undefined;
  /** Of the newest snapshots, how many have it: 0 to 1. */
  readonly share: number;
}

export interface DeviceFacts {
  readonly deviceType: string | undefined;
  readonly streams: readonly StreamFacts[];
  /** By name. */
  readonly channels: readonly ChannelFacts[];
}

const devicesMax = 1000;
const streamsMax = 5000;
/** The parts of names are ASCII. */
const afterEveryName = '\u{7f}';
const newestEnvelopes = 200;
const newestSnapshots = 40;

/** From one to the next in the index, so that a million entries of a device cost as much as one. */
const streamsSql = `
  WITH RECURSIVE found (stream) AS (
    SELECT min(stream) FROM leaf WHERE stream >= :from AND stream < :before
    UNION ALL
    SELECT (SELECT min(stream) FROM leaf WHERE stream > found.stream AND stream < :before) FROM found
    WHERE found.stream IS NOT NULL
  )
  SELECT stream FROM found WHERE stream IS NOT NULL LIMIT :limit`;
const countSql = 'SELECT count(*) AS entries FROM leaf WHERE stream = ?';
const newestSql = 'SELECT position FROM leaf WHERE stream = ? ORDER BY sequence DESC LIMIT ?';

/** @param directory - the auditor's data @returns devices of which anything was recorded, by name */
export function recordedDevices(directory: string): string[] {
  const index = openIndex(directory);
  try {
    const streams = streamsBetween(index, '', afterEveryName);
    return [...new Set(streams.map((stream) => deviceOf(stream)))].slice(0, devicesMax);
  } finally {
    index.close();
  }
}

export function factsOf(source: FactsSource, device: NamespacePath): DeviceFacts {
  const passages = newestPassages(source.directory, device);
  const seen = channelsSeen(source, device);
  return {
    deviceType: seen.deviceType,
    streams: passages.map(({ stream, entries, newest }) => streamFacts(stream, entries, newest)),
    channels: seen.channels.length > 0 ? seen.channels : channelsNamed(source, passages),
  };
}

interface NewestPassages {
  readonly stream: string;
  readonly entries: number;
  readonly newest: readonly PassageLeaf[];
}

function newestPassages(directory: string, device: NamespacePath): NewestPassages[] {
  const index = openIndex(directory);
  const ledger = openSync(path.join(directory, ledgerFileName), 'r');
  try {
    return [device, ...streamsBetween(index, `${device}/`, `${device}0`)] // '0' is what follows '/'
      .map((stream) => ({
        stream,
        entries: Number(index.prepare(countSql).get(stream)?.['entries']),
        newest: index
          .prepare(newestSql)
          .all(stream, newestEnvelopes)
          .flatMap((row) => readLeaves(ledger, Number(row['position']), 1))
          .flatMap(({ leaf }) => (leaf.kind === 'passage' ? [leaf] : [])),
      }))
      .filter(({ entries }) => entries > 0);
  } finally {
    closeSync(ledger);
    index.close();
  }
}

/** What was held has two entries: the sequence number counts once. */
function streamFacts(stream: string, entries: number, newest: readonly PassageLeaf[]): StreamFacts {
  const bySequence = new Map(newest.map((passage) => [passage.sequence, passage]));
  const times = Array.from(bySequence.values(), ({ signingTimeMs, timeMs }) => signingTimeMs ?? timeMs);
  const bytes = newest.reduce((sum, passage) => sum + passage.bytes, 0);
  return {
    stream,
    entries,
    meanIntervalMs:
      times.length < 2 ? undefined : (Math.max(...times) - Math.min(...times)) / (times.length - 1),
    meanBytes: newest.length === 0 ? 0 : bytes / newest.length,
    lastMs: Math.max(0, ...newest.map(({ timeMs }) => timeMs)),
  };
}

const typeNames: Readonly<Record<string, string>> = {
  number: 'number',
  string: 'text',
  boolean: 'yes or no',
};

function channelsSeen(
  { archive, opener }: FactsSource,
  device: NamespacePath,
): { deviceType: string | undefined; channels: ChannelFacts[] } {
  const snapshots = (archive?.newestOf(device, 'snapshot', newestSnapshots) ?? []).flatMap((archived) => {
    const opened = openArchived(archived, opener);
    return (opened && snapshotIn(opened, device)) ?? [];
  });
  const seen = new Map<string, { unit: string | undefined; value: ChannelValue; count: number }>();
  for (const { readings } of snapshots) {
    for (const { channel, unit, value } of readings) {
      const known = seen.get(channel);
      if (known === undefined) seen.set(channel, { unit, value, count: 1 });
      else known.count += 1;
    }
  }
  const channels = Array.from(seen, ([channel, { unit, value, count }]) => ({
    channel,
    unit,
    type: typeNames[typeof value],
    share: count / snapshots.length,
  }));
  return { deviceType: snapshots[0]?.deviceType, channels: channels.toSorted(byName) };
}

/** The ledger alone knows names. */
function channelsNamed({ record }: FactsSource, streams: readonly NewestPassages[]): ChannelFacts[] {
  const passages = streams.flatMap(({ newest }) => newest).filter(({ channels }) => channels !== undefined);
  const counts = new Map<string, number>();
  for (const { channels } of passages) {
    for (const name of (channels && record.channelNames(channels.digest)) ?? [])
      counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const facts = Array.from(counts, ([channel, count]) => ({
    channel,
    unit: undefined,
    type: undefined,
    share: count / passages.length,
  }));
  return facts.toSorted(byName);
}

function byName(one: ChannelFacts, other: ChannelFacts): number {
  return one.channel < other.channel ? -1 : 1;
}

function streamsBetween(index: DatabaseSync, from: string, before: string): string[] {
  const rows = index.prepare(streamsSql).all({ from, before, limit: streamsMax });
  return rows.map((row) => String(row['stream']));
}

function openIndex(directory: string): DatabaseSync {
  return readSqliteFile(path.join(directory, indexFileName));
}
