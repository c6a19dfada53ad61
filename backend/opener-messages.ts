/** What the main thread and the threads that open envelopes say to each other. */
import type { KeyObject } from 'node:crypto';
import type { OpenPolicy } from '../cms/open.ts';
import type { CertificateKind } from '../database/schema.ts';
import type { StalePolicy } from '../pki/revocation.ts';
import type { RefusedEnvelope } from './decryptor.ts';
import type { KnownLayout } from './packed-arrivals.ts';

/**
 * What a thread is started with. Of the private keys it gets those for key agreement and no others: it signs nothing, and
 * connects to nothing.
 */
export interface OpenerSettings {
  /** Tried in order. */
  readonly recipients: readonly { readonly key: KeyObject; readonly certificate: Uint8Array }[];
  /** DER, pinned. */
  readonly roots: readonly Uint8Array[];
  readonly policy: OpenPolicy;
  /** SIG certificates of customers' auditors, and the CAs above each; DER. */
  readonly releasers: readonly {
    readonly certificate: Uint8Array;
    readonly authorities: readonly Uint8Array[];
    readonly root: Uint8Array;
  }[];
  readonly stalePolicy: StalePolicy;
  /** Whose stream is read; undefined: the main one. */
  readonly group: string | undefined;
  /** Whether the sealed envelope goes on beside what was in it. */
  readonly keepsEvidence: boolean;
}

/** A chain that was verified when it was published. */
export interface KeptChain {
  readonly path: string;
  readonly kind: CertificateKind;
  /** CBOR array of DER, leaf first. */
  readonly chain: Uint8Array;
}

export interface SealedPart {
  readonly topic: string;
  readonly receivedMs: number;
  /** Of its octets in the chunk. */
  readonly end: number;
}

/** Taken in this order; all but `lists` and `layouts` are answered, one by one. */
export type ToOpener =
  | { readonly kind: 'restore'; readonly chains: readonly KeptChain[]; readonly nowMs: number }
  | { readonly kind: 'lists'; readonly pem: string }
  | { readonly kind: 'layouts'; readonly layouts: readonly KnownLayout[] }
  | { readonly kind: 'open'; readonly parts: readonly SealedPart[]; readonly octets: Uint8Array }
  | {
      readonly kind: 'certificates';
      readonly path: string;
      readonly payload: Uint8Array;
      readonly nowMs: number;
    };

/** What became of one envelope; what was in it goes on to the database as octets that only its thread reads. */
export type Verdict =
  | {
      readonly kind: 'opened';
      readonly device: string;
      readonly sequence: number;
      readonly isSnapshot: boolean;
      readonly signingTimeMs: number | undefined;
    }
  | RefusedEnvelope;

/** Whether certificates are believed, and are news. */
export type Trust =
  | { readonly kind: 'news' }
  | { readonly kind: 'known' }
  | { readonly kind: 'refused'; readonly reason: string; readonly detail: string };

export type FromOpener =
  | { readonly kind: 'restored' }
  | {
      readonly kind: 'opened';
      readonly verdicts: readonly Verdict[];
      /** As `Packer` makes it: those that were opened, in their order. */
      readonly packed: Uint8Array | undefined;
      readonly stalePasses: number;
      readonly staleWarnings: readonly string[];
    }
  | { readonly kind: 'certificates'; readonly trust: Trust }
  | {
      readonly kind: 'dropped';
      readonly path: string;
      readonly certificate: CertificateKind;
      readonly reason: string;
      readonly detail: string;
    };
