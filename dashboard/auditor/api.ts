/** The HTTP API of the auditor, as its pages call it. */
import type { Reading } from '../../domain/snapshot.ts';
import { get, post, query } from '../http.ts';

export interface Sum {
  readonly envelopes: number;
  readonly bytes: number;
}

export interface DeviceToday extends Sum {
  readonly device: string;
  readonly denied: number;
  readonly held: number;
  readonly alarms: number;
  readonly lastMs: number;
  readonly channels: readonly { readonly name: string; readonly envelopes: number }[];
}

export interface RecipientToday extends Sum {
  readonly name: string;
  readonly isKnown: boolean;
}

export interface Today extends Sum {
  readonly sinceMs: number;
  readonly denied: number;
  readonly held: number;
  readonly alarms: number;
  readonly isComplete: boolean;
  readonly recipients: readonly RecipientToday[];
  readonly devices: readonly DeviceToday[];
}

export interface HeldItem {
  readonly id: number;
  readonly device: string;
  readonly topic: string;
  readonly sequence?: number;
  readonly signingTimeMs?: number;
  readonly heldMs: number;
  readonly bytes: number;
  readonly recipients: readonly string[];
  readonly channelCount?: number;
  readonly channels?: readonly string[];
  /** Those that the policy asks about. */
  readonly asked: readonly string[];
  readonly deadlineMs: number;
  /** Decided, and waiting for what came before it. */
  readonly decision?: { readonly outcome: string; readonly by: string };
}

export interface HeldList {
  readonly mode: 'observe' | 'enforce';
  readonly total: number;
  readonly atDeadline?: 'released' | 'denied';
  readonly held: readonly HeldItem[];
}

export interface EnvelopeView {
  readonly bytes: number;
  readonly hex: string;
  readonly structure: readonly (readonly [string, string])[];
  readonly readings?: readonly Reading[];
  readonly fault?: string;
}

export interface Finding {
  readonly leaves: number;
  readonly passages: number;
  readonly root: string;
  readonly signedSize: number;
  readonly signers: readonly { readonly commonName: string; readonly timeMs: number }[];
  readonly comparedSize: number;
  readonly gaps: readonly { readonly stream: string; readonly from: number; readonly to: number }[];
  readonly gapCount: number;
  readonly forks: readonly { readonly stream: string; readonly sequence: number }[];
  readonly forkCount: number;
  readonly fault?: { readonly reason: string; readonly leaf: number; readonly detail: string };
}

export type Verification =
  | { readonly state: 'never' }
  | { readonly state: 'running'; readonly by: string; readonly share: number }
  | { readonly state: 'found'; readonly by: string; readonly atMs: number; readonly finding: Finding }
  | { readonly state: 'failed'; readonly by: string; readonly atMs: number; readonly reason: string };

export interface LedgerState {
  readonly scope: string;
  readonly mode: 'observe' | 'enforce';
  readonly isConnected: boolean;
  readonly origin: string;
  readonly leaves: number;
  readonly root: string;
  readonly entries: number;
  readonly alarms: number;
  readonly bytes: number;
  /** How many wait for a person. */
  readonly held: number;
  readonly signed?: { readonly size: number; readonly timeMs: number };
  readonly countersigned: number;
  readonly verification: Verification;
}

export interface AlarmItem {
  readonly number: number;
  readonly timeMs: number;
  readonly topic: string;
  readonly sequence?: number;
  readonly outcome: string;
  readonly reason: string;
  readonly detail: string;
}

export const auditor = {
  today: () => get<Today>('/api/today'),
  held: () => get<HeldList>('/api/held'),
  envelope: (id: number) => get<EnvelopeView>(`/api/held/${id}/envelope`),
  decide: (id: number, outcome: 'released' | 'denied') => post(`/api/held/${id}/decision`, { outcome }),
  ledger: () => get<LedgerState>('/api/ledger'),
  verify: () => post('/api/ledger/verification', {}),
  alarms: () => get<AlarmItem[]>('/api/alarms'),
  /** Where the entries of a device are as a file. */
  entriesUrl: (device: string) => `/api/entries?${query({ device })}`,
};
