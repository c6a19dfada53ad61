/** Everything about a device in tables, a piece at a time; in a thread of its own, for opening envelopes takes its time. */
import type { NamespacePath } from '../domain/namespace.ts';
import { csvLine, timeCell } from './csv.ts';
import { certificateRows } from './export-certificates.ts';
import { decisionRows, entryColumns, entryRows } from './export-entries.ts';
import { commandRows, snapshotRows } from './export-envelopes.ts';
import { policyRows } from './export-policies.ts';
import type { ExportSource, Row } from './export-source.ts';
import type { Columns } from './parquet.ts';
import { parquetPieces } from './parquet.ts';

interface Table {
  readonly columns: Columns;
  readonly rowsOf: (source: ExportSource, device: NamespacePath) => Generator<Row>;
}

/** By the name of the file. */
const tables = {
  snapshots: {
    columns: {
      entry: 'count',
      received: 'time',
      measured: 'time',
      topic: 'text',
      sequence: 'count',
      outcome: 'text',
      type: 'text',
      channel: 'text',
      unit: 'text',
      value: 'value',
    },
    rowsOf: snapshotRows,
  },
  commands: {
    columns: {
      entry: 'count',
      received: 'time',
      direction: 'text',
      topic: 'text',
      id: 'text',
      name: 'text',
      outcome: 'text',
      from: 'text',
      at: 'time',
      expires: 'time',
      detail: 'text',
    },
    rowsOf: commandRows,
  },
  entries: { columns: entryColumns, rowsOf: entryRows },
  decisions: {
    columns: {
      number: 'count',
      time: 'time',
      topic: 'text',
      sequence: 'count',
      outcome: 'text',
      decidedBy: 'text',
      policy: 'count',
      digest: 'text',
    },
    rowsOf: decisionRows,
  },
  policies: {
    columns: {
      path: 'text',
      number: 'count',
      signer: 'text',
      signed: 'time',
      taken: 'time',
      from: 'time',
      until: 'time',
      group: 'text',
      recipients: 'text',
      auto: 'text',
      ask: 'text',
      deny: 'text',
      limits: 'text',
      commands: 'text',
    },
    rowsOf: policyRows,
  },
  certificates: {
    columns: {
      device: 'text',
      purpose: 'text',
      place: 'count',
      subject: 'text',
      serial: 'text',
      from: 'time',
      until: 'time',
      sha256: 'text',
    },
    rowsOf: certificateRows,
  },
} as const satisfies Readonly<Record<string, Table>>;
export type TableName = keyof typeof tables;
export const tableNames = Object.keys(tables) as TableName[];

/** Of text, more or less. */
const pieceCharacters = 64 * 1024;

/** @returns lines in the order of the ledger; a device that is not in it has only a header */
export function* exportCsv(source: ExportSource, name: TableName, device: NamespacePath): Generator<string> {
  const { columns, rowsOf }: Table = tables[name];
  const names = Object.keys(columns);
  let piece = csvLine(names);
  for (const row of rowsOf(source, device)) {
    piece += csvLine(names.map((column) => row[column]));
    if (piece.length < pieceCharacters) continue;
    yield piece;
    piece = '';
  }
  yield piece;
}

/** @param groupRowsMax - of a row group */
export function exportParquet(
  source: ExportSource,
  name: TableName,
  device: NamespacePath,
  groupRowsMax?: number,
): AsyncGenerator<Uint8Array> {
  const { columns, rowsOf }: Table = tables[name];
  return parquetPieces(columns, rowsOf(source, device), groupRowsMax);
}

/** One JSON object (RFC 8259) with all tables: `{"device":…,"exported":…,"snapshots":[…],…}`; of a part, also `from` and `until`. */
export function* exportJson(source: ExportSource, device: NamespacePath, nowMs: number): Generator<string> {
  const { fromMs, untilMs } = source.bounds;
  const [from, until] = [momentOf(fromMs), momentOf(untilMs)];
  yield JSON.stringify({ device, exported: timeCell(nowMs), from, until }).slice(0, -1);
  for (const name of tableNames) {
    const { rowsOf }: Table = tables[name];
    let piece = `,\n${JSON.stringify(name)}:[`;
    let separator = '';
    for (const row of rowsOf(source, device)) {
      piece += `${separator}\n${JSON.stringify(row)}`;
      separator = ',';
      if (piece.length < pieceCharacters) continue;
      yield piece;
      piece = '';
    }
    yield `${piece}\n]`;
  }
  yield '\n}\n';
}

function momentOf(ms: number): ReturnType<typeof timeCell> {
  return Number.isFinite(ms) ? timeCell(ms) : undefined;
}
