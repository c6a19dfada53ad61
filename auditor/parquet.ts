/** Apache Parquet, a row group at a time: in memory are one of them and, of those before, what the footer says (about 10 kB). */
import type { SchemaElement } from 'hyparquet-writer';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { Cell } from './csv.ts';
import type { Row } from './export-source.ts';

/** What a column holds: `count` a whole number, `value` one of a channel, which becomes three columns. */
export type ColumnKind = 'text' | 'count' | 'time' | 'value';

/** By name, in their order. */
export type Columns = Readonly<Record<string, ColumnKind>>;

interface ParquetColumn {
  readonly element: SchemaElement;
  /** Of a row. */
  readonly source: string;
  readonly valueOf: (cell: Cell) => unknown;
  /** Unless given, a dictionary where that is smaller. */
  readonly encoding?: 'PLAIN';
  /** Least and greatest of a row group, by which readers skip it. The writer keeps them to the end, so texts have none. */
  readonly statistics: boolean;
}

const groupRowsMax = 4000;
/** A row group ends earlier if its texts are long. */
const groupCharactersMax = 4 * 1024 * 1024;

type PhysicalType = Omit<SchemaElement, 'name'>;
const string: PhysicalType = {
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  logical_type: { type: 'STRING' },
};
const timestamp: PhysicalType = {
  type: 'INT64',
  converted_type: 'TIMESTAMP_MILLIS',
  logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' },
};

/**
 * @param columns - a `value` becomes `number`, `text` and `flag`, of which each row has one
 * @param rowsMax - of a row group
 * @returns the pieces of one file; times are in milliseconds, UTC
 * @see https://parquet.apache.org/docs/file-format/
 */
export async function* parquetPieces(
  columns: Columns,
  rows: Iterable<Row>,
  rowsMax = groupRowsMax,
): AsyncGenerator<Uint8Array> {
  const parts = Object.entries(columns).flatMap(([name, kind]) => columnsOf[kind](name));
  const schema = [{ name: 'schema', num_children: parts.length }, ...parts.map(({ element }) => element)];
  const bytes = new ByteWriter();
  const writer = new ParquetWriter({ writer: bytes, schema, createdBy: 'plombe' });
  let group: Row[] = [];
  let characters = 0;
  for (const row of rows) {
    group.push(row);
    characters += charactersOf(row);
    if (group.length < rowsMax && characters < groupCharactersMax) continue;
    await writer.write(groupOf(parts, group));
    yield takeFrom(bytes);
    [group, characters] = [[], 0];
  }
  if (group.length > 0) await writer.write(groupOf(parts, group));
  await writer.finish();
  yield takeFrom(bytes);
}

const columnsOf: Readonly<Record<ColumnKind, (source: string) => readonly ParquetColumn[]>> = {
  text: (source) => [textColumn(source, source)],
  count: (source) => [
    { element: optional(source, { type: 'INT64' }), source, valueOf: countOf, statistics: true },
  ],
  time: (source) => [{ element: optional(source, timestamp), source, valueOf: timeOf, statistics: true }],
  value: (source) => [
    {
      element: optional('number', { type: 'DOUBLE' }),
      source,
      valueOf: only('number'),
      encoding: 'PLAIN', // the writer's dictionary takes -0 for 0
      statistics: true,
    },
    textColumn('text', source),
    { element: optional('flag', { type: 'BOOLEAN' }), source, valueOf: only('boolean'), statistics: true },
  ],
};

function textColumn(name: string, source: string): ParquetColumn {
  return { element: optional(name, string), source, valueOf: only('string'), statistics: false };
}

function optional(name: string, type: PhysicalType): SchemaElement {
  return { name, repetition_type: 'OPTIONAL', ...type };
}

function only(type: 'string' | 'number' | 'boolean'): (cell: Cell) => Cell {
  return (cell) => (typeof cell === type ? cell : undefined);
}

function countOf(cell: Cell): bigint | undefined {
  return typeof cell === 'number' ? BigInt(cell) : undefined;
}

/** Also later than a `Date` can be; but 64 bits is what a file has for it. */
function timeOf(cell: Cell): bigint | undefined {
  const ms = cell instanceof Date ? cell.getTime() : cell;
  return typeof ms === 'number' && Math.abs(ms) < 2 ** 63 ? BigInt(Math.trunc(ms)) : undefined;
}

function charactersOf(row: Row): number {
  let sum = 0;
  for (const cell of Object.values(row)) if (typeof cell === 'string') sum += cell.length;
  return sum;
}

function groupOf(
  parts: readonly ParquetColumn[],
  rows: readonly Row[],
): Parameters<ParquetWriter['write']>[0] {
  const columnData = parts.map(({ element, source, valueOf, encoding, statistics }) => ({
    name: element.name,
    data: rows.map((row) => valueOf(row[source])),
    ...(encoding && { encoding }),
    statistics,
  }));
  return { columnData, rowGroupSize: rows.length };
}

/** What was written since the last time. The writer's `offset`, by which the footer finds everything, counts on. */
function takeFrom(bytes: ByteWriter): Uint8Array {
  const piece = bytes.getBytes().slice();
  bytes.index = 0;
  return piece;
}
