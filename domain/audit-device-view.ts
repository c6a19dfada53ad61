/** What a customer sees of its policies and its devices: the JSON that the auditor's page shows. */
import type { EffectivePolicy } from './policy-effect.ts';
import type { ChannelRules, PolicyRecipient, SharingLimits } from './policy.ts';

export type ReaderItem = Pick<PolicyRecipient, 'name' | 'trust'>;

/** Readers with the same rights. */
export interface ReaderGroupItem {
  readonly name: string;
  /** Undefined: whom the level above names. */
  readonly recipients: readonly ReaderItem[] | undefined;
  /** Of a policy, patterns; of what holds for a device, its channels. Undefined: what the level above grants. */
  readonly channels: ChannelRules | undefined;
  readonly limits: SharingLimits;
}

export interface PolicyItem {
  readonly path: string;
  readonly number: number;
  /** The common name of the certificate whose signature it carries. */
  readonly signer: string;
  /** By the signer's clock. */
  readonly signedMs: number;
  /** Since when it is here. */
  readonly takenMs: number;
  readonly validFromMs: number | undefined;
  readonly validUntilMs: number | undefined;
  /** Undefined: it says nothing about readers. */
  readonly readers: readonly ReaderGroupItem[] | undefined;
  readonly limits: SharingLimits;
  /** Undefined: it says nothing about commands. */
  readonly commands: readonly string[] | undefined;
  /** Whether it is the newest of its path. */
  readonly isNewest: boolean;
}

export interface PolicyList {
  readonly scope: string;
  /** What `plombe policy sign` and `publish` are told. */
  readonly publishing: PolicyPublishing;
  /** Policies that came and were not taken. */
  readonly refusals: readonly { readonly path: string; readonly reason: string; readonly atMs: number }[];
  /** The newest first. */
  readonly policies: readonly PolicyItem[];
}

export interface PolicyPublishing {
  /** Directory. */
  readonly identity: string;
  /** `host:port` */
  readonly broker: string;
  readonly brokerName: string;
}

export interface DeviceItem {
  readonly device: string;
  readonly levels: EffectivePolicy['levels'];
  /** Names, beside the owner's. */
  readonly readers: readonly string[];
}

export interface DeviceView {
  readonly device: string;
  readonly levels: EffectivePolicy['levels'];
  readonly groups: readonly ReaderGroupItem[];
  readonly commands: readonly string[] | undefined;
  /** What can be had of it as files. */
  readonly tables: readonly string[];
  /** Since when its envelopes are kept; undefined: none is. */
  readonly keptSinceMs: number | undefined;
  readonly sheet: DataSheet;
}

/** One that is kept. */
export interface EnvelopeItem {
  /** Of its first entry in the ledger. */
  readonly number: number;
  readonly receivedMs: number;
  readonly topic: string;
  readonly sequence: number | undefined;
  readonly bytes: number;
  readonly recipients: readonly string[];
  readonly channelCount: number | undefined;
  /** What became of it in the end. */
  readonly outcome: 'passed' | 'held' | 'released' | 'denied';
  readonly alarm: string | undefined;
}

/** What a device records, how often, how much, and for whom: Regulation (EU) 2023/2854 (Data Act), Art. 3. */
export interface DataSheet {
  readonly title: string;
  readonly madeMs: number;
  readonly sections: readonly SheetSection[];
}

export interface SheetSection {
  readonly title: string;
  /** Of the Data Act, such as `Art. 3(2)(a)`. */
  readonly articles: string;
  readonly paragraphs: readonly string[];
  readonly table: SheetTable | undefined;
}

export interface SheetTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}
