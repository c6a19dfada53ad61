/** What a customer sees of its auditor: the JSON that the auditor's page shows. */
import type { Reading } from './snapshot.ts';

export interface Sum {
  readonly envelopes: number;
  /** Of the envelopes. */
  readonly bytes: number;
}

/** What left since midnight, and what did not. */
export interface Departed extends Sum {
  readonly sinceMs: number;
  readonly denied: number;
  readonly held: number;
  readonly alarms: number;
  /** False while the ledger has more of today than was read yet. */
  readonly isComplete: boolean;
  readonly recipients: readonly DepartedFor[];
  readonly devices: readonly DepartedFrom[];
}

export interface DepartedFor extends Sum {
  /** Of one whom the auditor does not know, the identifier of its certificate. */
  readonly name: string;
  readonly isKnown: boolean;
}

export interface DepartedFrom extends Sum {
  readonly device: string;
  readonly denied: number;
  readonly held: number;
  readonly alarms: number;
  readonly lastMs: number;
  /** Those that left, with how many envelopes. */
  readonly channels: readonly { readonly name: string; readonly envelopes: number }[];
}

export interface HeldItem {
  readonly id: number;
  readonly device: string;
  readonly topic: string;
  readonly sequence: number | undefined;
  readonly signingTimeMs: number | undefined;
  readonly heldMs: number;
  readonly bytes: number;
  readonly recipients: readonly string[];
  readonly channelCount: number | undefined;
  readonly channels: readonly string[] | undefined;
  /** Those that the policy asks about. */
  readonly asked: readonly string[];
  readonly deadlineMs: number;
  /** Decided, and waiting for what came before it. */
  readonly decision: { readonly outcome: string; readonly by: string } | undefined;
}

export interface HeldList {
  readonly mode: 'observe' | 'enforce';
  readonly total: number;
  readonly atDeadline: 'released' | 'denied' | undefined;
  readonly held: readonly HeldItem[];
}

/** One envelope: as others see it, and opened. */
export interface EnvelopeView {
  readonly bytes: number;
  /** Hexadecimal, of the beginning. */
  readonly hex: string;
  /** Names and texts. */
  readonly structure: readonly (readonly [string, string])[];
  /** Undefined if it is no snapshot, or cannot be opened: `fault` says why. */
  readonly readings: readonly Reading[] | undefined;
  readonly fault: string | undefined;
}

/** Which numbers of devices are missing, and which speak of two histories, as the ledger has it now. */
export interface Completeness {
  /** Devices that are not complete: how many runs of numbers are missing of each, and how many numbers speak of two histories. */
  readonly devices: readonly { readonly device: string; readonly gaps: number; readonly forks: number }[];
  /** The newest of them. */
  readonly gaps: readonly GapItem[];
  readonly forks: readonly ForkItem[];
}

/** A run of numbers that is missing. */
export interface GapItem {
  /** The device, or one of its groups of readers. */
  readonly stream: string;
  readonly from: number;
  readonly to: number;
  /** Undefined: not known. */
  readonly sinceMs: number | undefined;
}

export interface ForkItem {
  /** Of the entry that says so. */
  readonly number: number;
  readonly stream: string;
  readonly sequence: number;
  readonly detail: string;
  readonly timeMs: number;
}

/** What a verification of the whole ledger found. */
export interface LedgerFinding {
  readonly leaves: number;
  readonly passages: number;
  readonly alarms: number;
  /** Hexadecimal. */
  readonly root: string;
  readonly signedSize: number;
  readonly signers: readonly { readonly commonName: string; readonly timeMs: number }[];
  /** Leaves of the vendor's head that it was compared with; 0: there is none. */
  readonly comparedSize: number;
  /** The first of them, and how many there are. */
  readonly gaps: readonly { readonly stream: string; readonly from: number; readonly to: number }[];
  readonly gapCount: number;
  readonly forks: readonly { readonly stream: string; readonly sequence: number }[];
  readonly forkCount: number;
  /** Where the ledger is not what was written. */
  readonly fault: { readonly reason: string; readonly leaf: number; readonly detail: string } | undefined;
}

export type LedgerCheckState =
  | { readonly state: 'never' }
  | { readonly state: 'running'; readonly by: string; readonly share: number }
  | { readonly state: 'found'; readonly by: string; readonly atMs: number; readonly finding: LedgerFinding }
  | { readonly state: 'failed'; readonly by: string; readonly atMs: number; readonly reason: string };

export interface LedgerState {
  readonly scope: string;
  readonly mode: 'observe' | 'enforce';
  readonly isConnected: boolean;
  readonly origin: string;
  readonly leaves: number;
  /** Hexadecimal. */
  readonly root: string;
  readonly entries: number;
  readonly alarms: number;
  readonly bytes: number;
  /** How many wait for a person. */
  readonly held: number;
  readonly signed: { readonly size: number; readonly timeMs: number } | undefined;
  readonly countersigned: number;
  readonly verification: LedgerCheckState;
}

export interface AlarmItem {
  readonly number: number;
  readonly timeMs: number;
  readonly topic: string;
  readonly direction: 'in' | 'out';
  readonly sequence: number | undefined;
  readonly outcome: string;
  readonly reason: string;
  readonly detail: string;
}
