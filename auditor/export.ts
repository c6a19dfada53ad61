/** The entries of a device as CSV (RFC 4180), a piece at a time, also while the auditor writes more. */
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as turn } from 'node:timers/promises';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { readLeaves } from '../ledger/ledger-file.ts';
import { indexFileName } from './record-index.ts';
import { ledgerFileName } from './record.ts';

const columns = [
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

const lineEnd = '\r\n'; // RFC 4180 §2
const linesPerPiece = 200;

/**
 * @param directory - the auditor's data
 * @param device - or an account: what lies within it
 * @returns lines in the order of the ledger; a device that is not in it has only a header
 */
export async function* exportEntries(directory: string, device: string): AsyncGenerator<string> {
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
    let lines = [columns.join(',')];
    for (const row of rows) {
      for (const { leaf } of readLeaves(ledger, Number(row['position']), 1)) {
        if (leaf.kind === 'passage') lines.push(lineOf(leaf));
      }
      if (lines.length < linesPerPiece) continue;
      yield lines.map((line) => line + lineEnd).join('');
      lines = [];
      await turn(); // thousands of lines are read at once; the audit goes on meanwhile
    }
    yield lines.map((line) => line + lineEnd).join('');
  } finally {
    index.close();
    closeSync(ledger);
  }
}

function lineOf(leaf: PassageLeaf & { readonly number: number }): string {
  const cells: Readonly<Record<(typeof columns)[number], string | number | undefined>> = {
    number: leaf.number,
    time: new Date(leaf.timeMs).toISOString(),
    direction: leaf.direction,
    topic: leaf.topic,
    sequence: leaf.sequence,
    sealed: leaf.signingTimeMs === undefined ? undefined : timeText(leaf.signingTimeMs),
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
  return columns.map((column) => cellOf(cells[column])).join(',');
}

/** By the clock of a device, which may say anything; a date ends with the year 275760 (ECMAScript §21.4.1.1). */
function timeText(ms: number): string | number {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : ms;
}

function cellOf(value: string | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(value);
  // What comes from a device must not become a formula where the file is opened.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
