/** CSV with a header line: one column a channel, one row a snapshot. */
import { unitLengthMax, valueLengthMax } from '../../domain/limits.ts';
import type { ChannelValue, Reading } from '../../domain/snapshot.ts';
import { isChannelName } from '../../domain/snapshot.ts';
import type { Collected, Collector, Rejection } from './collector.ts';
import { CollectorError, quoted, rejection } from './collector.ts';
import { readCsvRecords } from './csv-records.ts';
import { readNumber, readTimeMs } from './number.ts';
import { readTextFile } from './text-file.ts';

export interface CsvOptions {
  readonly deviceType: string;
  /** The header of the column that holds the time: ISO 8601 with a zone, or seconds or milliseconds since 1970. */
  readonly timeColumn?: string;
  /** The header of the column that names the machine. */
  readonly deviceColumn?: string;
  readonly delimiter?: string;
  /** Of the first row, where there is no time column. */
  readonly startMs?: number;
  /** From row to row, where there is no time column. */
  readonly intervalMs?: number;
}

const defaultStartMs = Date.UTC(2020, 0, 1);
const defaultIntervalMs = 60_000;
const columnsMax = 10_000;
const booleans: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['false', false],
]);

type ValueKind = 'number' | 'boolean' | 'text';

interface Column {
  readonly header: string;
  readonly channel: string;
  readonly unit: string | undefined;
  /** A column with a unit holds numbers; another holds what its first value is. */
  kind: ValueKind | undefined;
}

interface Header {
  /** In the order of the file; undefined for the time and the machine. */
  readonly columns: readonly (Column | undefined)[];
  readonly timeIndex: number;
  readonly deviceIndex: number;
}

/**
 * Reads a file in its own order, plain or gzip. An empty field is a value that was not measured.
 *
 * @throws CollectorError `collector.format` if the header cannot be used, `collector.unreadable`
 */
export async function* collectCsv(file: string, options: CsvOptions): Collector {
  let header: Header | undefined;
  let row = 0;
  for await (const records of readCsvRecords(readTextFile(file), options.delimiter)) {
    for (const record of records) {
      if ('fault' in record) {
        if (header === undefined)
          throw new CollectorError('collector.format', `${file}: the header is not CSV`);
        yield rejection(record.line, record.fault, 'the row is not whole CSV');
        continue;
      }
      if (header === undefined) {
        header = readHeader(file, record.fields, options);
        continue;
      }
      yield readRow(header, record.line, record.fields, row++, options);
    }
  }
  if (header === undefined) throw new CollectorError('collector.format', `${file} has no header line`);
}

/**
 * `Air temperature [K]` is the channel `air-temperature` in `K`; a dot in the header separates the group.
 *
 * @returns undefined if nothing is left that could name a channel
 */
export function channelOfHeader(header: string): { channel: string; unit: string | undefined } | undefined {
  const match = /^(.*?)\s*\[([^[\]]*)\]$/.exec(header.trim());
  const unit = match?.[2]?.trim();
  const channel = (match?.[1] ?? header)
    .normalize('NFKD')
    .toLowerCase()
    .trim()
    .replaceAll(/\s+/g, '-')
    .replaceAll(/[^a-z0-9\-./_]/g, '')
    .replace(/^[^a-z0-9]+/, '');
  if (!isChannelName(channel) || (unit?.length ?? 0) > unitLengthMax) return undefined;
  return { channel, unit: unit === '' ? undefined : unit };
}

function readHeader(file: string, headers: readonly string[], options: CsvOptions): Header {
  if (headers.length > columnsMax) {
    throw new CollectorError(
      'collector.format',
      `${file} has ${headers.length} columns; at most ${columnsMax} are read`,
    );
  }
  const timeIndex = indexOfColumn(file, headers, options.timeColumn);
  const deviceIndex = indexOfColumn(file, headers, options.deviceColumn);
  const channels = new Set<string>();
  const columns = headers.map((header, index): Column | undefined => {
    if (index === timeIndex || index === deviceIndex) return undefined;
    const named = channelOfHeader(header);
    if (named === undefined || channels.has(named.channel)) {
      const fault =
        named === undefined ? 'names no channel' : `is the channel ${named.channel} a second time`;
      throw new CollectorError('collector.format', `${file}: header ${quoted(header)} ${fault}`);
    }
    channels.add(named.channel);
    return { header, ...named, kind: named.unit === undefined ? undefined : 'number' };
  });
  if (channels.size === 0) throw new CollectorError('collector.format', `${file} has no column with values`);
  return { columns, timeIndex, deviceIndex };
}

function indexOfColumn(file: string, headers: readonly string[], wanted: string | undefined): number {
  if (wanted === undefined) return -1;
  const index = headers.findIndex((header) => header.trim() === wanted);
  if (index === -1) throw new CollectorError('collector.format', `${file} has no column ${quoted(wanted)}`);
  return index;
}

function readRow(
  header: Header,
  line: number,
  fields: readonly string[],
  row: number,
  options: CsvOptions,
): Collected {
  if (fields.length !== header.columns.length) {
    return rejection(
      line,
      'column-count',
      `row has ${fields.length} fields; the header has ${header.columns.length}`,
    );
  }
  const time = fields[header.timeIndex];
  const timeMs =
    time === undefined
      ? (options.startMs ?? defaultStartMs) + row * (options.intervalMs ?? defaultIntervalMs)
      : readTimeMs(time.trim());
  if (timeMs === undefined) return rejection(line, 'bad-time', `time is ${quoted(time ?? '')}`);
  const readings: Reading[] = [];
  for (const [index, column] of header.columns.entries()) {
    const field = fields[index]?.trim() ?? '';
    if (column === undefined || field === '') continue;
    const value = readValue(column, field);
    if (isRejected(value))
      return rejection(line, value.reason, `${quoted(column.header)} is ${quoted(field)}`);
    readings.push({
      channel: column.channel,
      ...(column.unit === undefined ? {} : { unit: column.unit }),
      value,
    });
  }
  if (readings.length === 0) return rejection(line, 'no-values', 'every field is empty');
  return {
    kind: 'sample',
    device: fields[header.deviceIndex]?.trim(),
    snapshot: { timeMs, deviceType: options.deviceType, readings },
    line,
  };
}

function isRejected(value: ChannelValue | Pick<Rejection, 'reason'>): value is Pick<Rejection, 'reason'> {
  return typeof value === 'object';
}

function readValue(column: Column, field: string): ChannelValue | Pick<Rejection, 'reason'> {
  column.kind ??= kindOf(field);
  if (column.kind === 'number') return readNumber(field) ?? { reason: 'not-a-number' };
  if (column.kind === 'boolean') return booleans.get(field.toLowerCase()) ?? { reason: 'bad-value' };
  if (field.includes('\uFFFD')) return { reason: 'not-utf8' };
  return field.length <= valueLengthMax ? field : { reason: 'bad-value' };
}

function kindOf(field: string): ValueKind {
  if (readNumber(field) !== undefined) return 'number';
  return booleans.has(field.toLowerCase()) ? 'boolean' : 'text';
}
