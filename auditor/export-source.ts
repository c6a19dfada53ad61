/** Where everything about a device is, and the rows in which it is handed out. */
import type { Opener } from '../cms/open.ts';
import type { ArchiveReading } from './archive-reading.ts';
import type { Cell } from './csv.ts';
import type { PolicyHistory } from './policy-history.ts';
import type { RecordIndex } from './record-index.ts';

/** What of it: by the auditor's clock, and by numbers of the ledger, so that an export ends although more comes. */
export interface ExportBounds {
  readonly fromMs: number;
  /** Excluded. */
  readonly untilMs: number;
  /** Of the last leaf. */
  readonly last: number;
}

export interface ExportSource {
  /** The auditor's data. */
  readonly directory: string;
  readonly index: Pick<RecordIndex, 'known' | 'certificatesOf'>;
  readonly opener: Opener;
  /** Undefined: no envelope is kept. */
  readonly archive: Pick<ArchiveReading, 'of'> | undefined;
  readonly policyHistory: Pick<PolicyHistory, 'list'>;
  readonly bounds: ExportBounds;
}

/** By column. */
export type Row = Readonly<Record<string, Cell>>;
