/** What the auditor and a thread that exports tell each other. */
import type { KeyObject } from 'node:crypto';
import type { NamespacePath } from '../domain/namespace.ts';
import type { TableName } from './export.ts';

export interface ExportJob {
  readonly device: NamespacePath;
  readonly file:
    { readonly format: 'json' } | { readonly format: 'csv' | 'parquet'; readonly table: TableName };
  /** By the auditor's clock; undefined: from the beginning. */
  readonly fromMs: number | undefined;
  /** Excluded; undefined: up to what is there now. */
  readonly untilMs: number | undefined;
}

/** Certificates as DER. */
export interface ExportSettings {
  readonly job: ExportJob;
  readonly nowMs: number;
  /** The auditor's data. */
  readonly directory: string;
  /** False: no envelope is kept. */
  readonly hasArchive: boolean;
  readonly recipient: { readonly key: KeyObject; readonly certificate: Uint8Array };
  readonly roots: readonly Uint8Array[];
  /** Whose commands are opened beside what the device made. */
  readonly issuers: readonly {
    readonly commonName: string;
    readonly signature: Uint8Array | undefined;
    readonly keyAgreement: Uint8Array;
  }[];
}

/** The client has taken what there was: the next piece. */
export type ToExporter = 'more';

export type FromExporter = { readonly kind: 'piece'; readonly octets: Uint8Array } | { readonly kind: 'end' };
