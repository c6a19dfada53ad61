/** Everything about a device in tables, a piece at a time, also while the auditor writes more. */
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { NamespacePath } from '../domain/namespace.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { readLeaves } from '../ledger/ledger-file.ts';
import { readSqliteFile } from '../runtime/sqlite-file.ts';
import type { Cell } from './csv.ts';
import { csvLine, timeCell } from './csv.ts';
import { certificateRows } from './export-certificates.ts';
import { commandRows, snapshotRows } from './export-envelopes.ts';
import { policyRows } from './export-policies.ts';
import type { ExportSource, Row } from './export-source.ts';
import type { Columns } from './parquet.ts';
import { parquetPieces } from './parquet.ts';
import { indexFileName } from './record-index.ts';
import { ledgerFileName } from './record.ts';

type Rows = Iterable<Row> | AsyncIterable<Row>;

interface Table {
  readonly columns: Columns;
  readonly rowsOf: (source: ExportSource, device: NamespacePath) => Rows;
}

const entryColumns = {
  number: 'count',
  time: 'time',
  direction: 'text',
  topic: 'text',
  sequence: 'count',
  sealed: 'time',
  bytes: 'count',
  recipients: 'text',
  channels: 'count',
  outcome: 'text',
  decidedBy: 'text',
  policy: 'count',
  alarm: 'text',
  detail: 'text',
  digest: 'text',
} as const satisfies Columns;

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
  entries: { columns: entryColumns, rowsOf: ({ directory }, device) => entryRows(directory, device) },
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

const rowsPerPiece = 200;

/** @returns lines in the order of the ledger; a device that is not in it has only a header */
export async function* exportCsv(
  source: ExportSource,
  name: TableName,
  device: NamespacePath,
): AsyncGenerator<string> {
  const { columns, rowsOf }: Table = tables[name];
  const names = Object.keys(columns);
  let piece = csvLine(names);
  let rows = 0;
  for await (const row of rowsOf(source, device)) {
    piece += csvLine(names.map((column) => row[column]));
    rows += 1;
    if (rows % rowsPerPiece !== 0) continue;
    yield piece;
    piece = '';
    await turn(); // the audit goes on meanwhile
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

/** One JSON object (RFC 8259) with all tables: `{"device":…,"exported":…,"snapshots":[…],…}`. */
export async function* exportJson(
  source: ExportSource,
  device: NamespacePath,
  nowMs: number,
): AsyncGenerator<string> {
  yield `{"device":${JSON.stringify(device)},"exported":${JSON.stringify(timeCell(nowMs))}`;
  for (const name of tableNames) {
    const { rowsOf }: Table = tables[name];
    yield `,\n${JSON.stringify(name)}:[`;
    let piece = '';
    let rows = 0;
    for await (const row of rowsOf(source, device)) {
      piece += `${rows === 0 ? '' : ','}\n${JSON.stringify(row)}`;
      rows += 1;
      if (rows % rowsPerPiece !== 0) continue;
      yield piece;
      piece = '';
      await turn();
    }
    yield `${piece}\n]`;
  }
  yield '\n}\n';
}

function* entryRows(directory: string, device: string): Generator<Row> {
  for (const leaf of passagesOf(directory, device)) yield entryRow(leaf);
}

function* decisionRows({ directory }: ExportSource, device: NamespacePath): Generator<Row> {
  for (const leaf of passagesOf(directory, device)) if (leaf.decidedBy !== undefined) yield entryRow(leaf);
}

function* passagesOf(
  directory: string,
  device: string,
): Generator<PassageLeaf & { readonly number: number }> {
  const ledger = openSync(path.join(directory, ledgerFileName), 'r');
  const index = readSqliteFile(path.join(directory, indexFileName));
  try {
    const rows = index
      .prepare(
        `SELECT position FROM leaf
         WHERE stream = :device OR (stream > :device || '/' AND stream < :device || '0') -- what follows '/'
         ORDER BY number`,
      )
      .iterate({ device });
    for (const row of rows) {
      for (const { leaf } of readLeaves(ledger, Number(row['position']), 1)) {
        if (leaf.kind === 'passage') yield leaf;
      }
    }
  } finally {
    index.close();
    closeSync(ledger);
  }
}

function entryRow(leaf: PassageLeaf & { readonly number: number }): Row {
  const cells: Readonly<Record<keyof typeof entryColumns, Cell>> = {
    number: leaf.number,
    time: timeCell(leaf.timeMs),
    direction: leaf.direction,
    topic: leaf.topic,
    sequence: leaf.sequence,
    sealed: timeCell(leaf.signingTimeMs),
    bytes: leaf.bytes,
    recipients: leaf.recipients.map(({ name, identifier }) => name ?? `unknown ${identifier}`).join('; '),
    channels: leaf.channels?.count,
    outcome: leaf.outcome,
    decidedBy: leaf.decidedBy,
    policy: leaf.policy,
    alarm: leaf.alarm?.reason,
    detail: leaf.alarm?.detail,
    digest: leaf.digest.toString('hex'),
  };
  return cells;
}
