/** What the ledger says of a device: its entries, and those that a person, or a deadline, decided. */
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { NamespacePath } from '../domain/namespace.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { readLeaves } from '../ledger/ledger-file.ts';
import { readSqliteFile } from '../runtime/sqlite-file.ts';
import type { Cell } from './csv.ts';
import { timeCell } from './csv.ts';
import type { ExportBounds, ExportSource, Row } from './export-source.ts';
import { indexFileName } from './record-index.ts';
import { ledgerFileName } from './record.ts';
import type { Columns } from './parquet.ts';

export const entryColumns = {
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

type NumberedPassage = PassageLeaf & { readonly number: number };

/** Of the index, read at once: while the client takes its time, no transaction of ours keeps the log from shrinking. */
const pageEntries = 1000;
/** In the order of the ledger, which the unary plus keeps SQLite to (https://sqlite.org/optoverview.html §2). */
const pageSql = `
  SELECT number, position FROM leaf
  WHERE number > :after AND number <= :last
    AND (+stream = :device OR (+stream > :device || '/' AND +stream < :device || '0')) -- what follows '/'
  ORDER BY number LIMIT :limit`;

export function* entryRows(source: ExportSource, device: NamespacePath): Generator<Row> {
  for (const leaf of passagesOf(source, device)) yield entryRow(leaf);
}

export function* decisionRows(source: ExportSource, device: NamespacePath): Generator<Row> {
  for (const leaf of passagesOf(source, device)) if (leaf.decidedBy !== undefined) yield entryRow(leaf);
}

function* passagesOf({ directory, bounds }: ExportSource, device: string): Generator<NumberedPassage> {
  const ledger = openSync(path.join(directory, ledgerFileName), 'r');
  const index = readSqliteFile(path.join(directory, indexFileName));
  try {
    for (const position of positionsOf(index, device, bounds)) {
      for (const { leaf } of readLeaves(ledger, position, 1)) {
        if (leaf.kind === 'passage' && isWithin(leaf, bounds)) yield leaf;
      }
    }
  } finally {
    index.close();
    closeSync(ledger);
  }
}

/** The index does not know times. */
function isWithin({ timeMs }: PassageLeaf, { fromMs, untilMs }: ExportBounds): boolean {
  return timeMs >= fromMs && timeMs < untilMs;
}

function* positionsOf(index: DatabaseSync, device: string, { last }: ExportBounds): Generator<number> {
  const page = index.prepare(pageSql);
  for (let after = -1; ;) {
    const rows = page.all({ device, after, last, limit: pageEntries });
    for (const row of rows) yield Number(row['position']);
    if (rows.length < pageEntries) return;
    after = Number(rows.at(-1)?.['number']);
  }
}

function entryRow(leaf: NumberedPassage): Row {
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
