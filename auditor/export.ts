/** Everything about a device in tables, a piece at a time, also while the auditor writes more. */
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as turn } from 'node:timers/promises';
import type { NamespacePath } from '../domain/namespace.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { readLeaves } from '../ledger/ledger-file.ts';
import type { Cell } from './csv.ts';
import { csvLine, timeCell } from './csv.ts';
import { certificateRows } from './export-certificates.ts';
import { commandRows, snapshotRows } from './export-envelopes.ts';
import { policyRows } from './export-policies.ts';
import type { ExportSource, Row } from './export-source.ts';
import { indexFileName } from './record-index.ts';
import { ledgerFileName } from './record.ts';

type Rows = Iterable<Row> | AsyncIterable<Row>;

interface Table {
  readonly columns: readonly string[];
  readonly rowsOf: (source: ExportSource, device: NamespacePath) => Rows;
}

const entryColumns = [
  'number',
  'time',
  'direction',
  'topic',
  'sequence',
  'sealed',
  'bytes',
  'recipients',
  'channels',
  'outcome',
  'decidedBy',
  'policy',
  'alarm',
  'detail',
  'digest',
] as const;

/** By the name of the file. */
const tables = {
  snapshots: {
    columns: [
      'entry',
      'received',
      'measured',
      'topic',
      'sequence',
      'outcome',
      'type',
      'channel',
      'unit',
      'value',
    ],
    rowsOf: snapshotRows,
  },
  commands: {
    columns: [
      'entry',
      'received',
      'direction',
      'topic',
      'id',
      'name',
      'outcome',
      'from',
      'at',
      'expires',
      'detail',
    ],
    rowsOf: commandRows,
  },
  entries: { columns: entryColumns, rowsOf: ({ directory }, device) => entryRows(directory, device) },
  decisions: {
    columns: ['number', 'time', 'topic', 'sequence', 'outcome', 'decidedBy', 'policy', 'digest'],
    rowsOf: decisionRows,
  },
  policies: {
    columns: [
      'path',
      'number',
      'signer',
      'signed',
      'taken',
      'from',
      'until',
      'group',
      'recipients',
      'auto',
      'ask',
      'deny',
      'limits',
      'commands',
    ],
    rowsOf: policyRows,
  },
  certificates: {
    columns: ['device', 'purpose', 'place', 'subject', 'serial', 'from', 'until', 'sha256'],
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
  let piece = csvLine(columns);
  let rows = 0;
  for await (const row of rowsOf(source, device)) {
    piece += csvLine(columns.map((column) => row[column]));
    rows += 1;
    if (rows % rowsPerPiece !== 0) continue;
    yield piece;
    piece = '';
    await turn(); // the audit goes on meanwhile
  }
  yield piece;
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
  const index = new DatabaseSync(path.join(directory, indexFileName), { readOnly: true });
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
  const cells: Readonly<Record<(typeof entryColumns)[number], Cell>> = {
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
