/** Where everything about a device is, and the rows in which it is handed out. */
import type { Opener } from '../cms/open.ts';
import type { Archive } from './archive.ts';
import type { Cell } from './csv.ts';
import type { PolicyHistory } from './policy-history.ts';
import type { EgressRecord } from './record.ts';

export interface ExportSource {
  /** The auditor's data. */
  readonly directory: string;
  readonly record: EgressRecord;
  readonly opener: Opener;
  /** Undefined: no envelope is kept. */
  readonly archive: Archive | undefined;
  readonly policyHistory: PolicyHistory;
}

/** By column. */
export type Row = Readonly<Record<string, Cell>>;
