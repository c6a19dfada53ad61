/** What kinds of certificate there are: one row per kind (DESIGN §3). */
import { enrolmentPurpose } from '../extensions.ts';
import type { KeyUsage } from '../extensions.ts';

export type PkiName = 'tls' | 'e2e';
/** What an identity has one certificate of each; `kem`, for ML-KEM, only if it is asked for. */
export type CertificateKind = 'tls' | 'sig' | 'enc' | 'kem';
export type ProfileName =
  | 'root'
  | 'vendor-authority'
  | 'master-account-authority'
  | 'account-authority'
  | 'tls-client'
  | 'tls-broker'
  | 'tls-bootstrap'
  | 'sig-bootstrap'
  | 'sig'
  | 'enc'
  | 'kem';

export interface Profile {
  readonly isAuthority: boolean;
  /** How many CAs may stand below; undefined for an end entity. */
  readonly pathLength: number | undefined;
  readonly keyUsage: readonly KeyUsage[];
  /** Object identifiers; none: no such extension. */
  readonly extendedKeyUsage: readonly string[];
  readonly lifetimeMs: number;
}

const serverAuth = '1.3.6.1.5.5.7.3.1'; // RFC 5280 §4.2.1.12
const clientAuth = '1.3.6.1.5.5.7.3.2';
const dayMs = 24 * 60 * 60 * 1000;
const yearMs = 365 * dayMs;

const authority = {
  isAuthority: true,
  keyUsage: ['keyCertSign', 'cRLSign'],
  extendedKeyUsage: [],
} as const;

const endEntity = { isAuthority: false, pathLength: undefined, lifetimeMs: 2 * yearMs } as const;
const bootstrap = { ...endEntity, keyUsage: ['digitalSignature'], lifetimeMs: 14 * dayMs } as const;

export const profiles: Readonly<Record<ProfileName, Profile>> = {
  root: { ...authority, pathLength: 2, lifetimeMs: 20 * yearMs },
  'vendor-authority': { ...authority, pathLength: 0, lifetimeMs: 10 * yearMs },
  'master-account-authority': { ...authority, pathLength: 1, lifetimeMs: 10 * yearMs },
  'account-authority': { ...authority, pathLength: 0, lifetimeMs: 10 * yearMs },
  // A device, a service, or a customer's own client.
  'tls-client': { ...endEntity, keyUsage: ['digitalSignature'], extendedKeyUsage: [clientAuth] },
  // A broker serves devices and, in the cascade, is a client of the next broker.
  'tls-broker': { ...endEntity, keyUsage: ['digitalSignature'], extendedKeyUsage: [serverAuth, clientAuth] },
  // Of whoever is to be enrolled: good for asking, and nothing else.
  'tls-bootstrap': { ...bootstrap, extendedKeyUsage: [clientAuth, enrolmentPurpose] },
  'sig-bootstrap': { ...bootstrap, extendedKeyUsage: [enrolmentPurpose] },
  sig: { ...endEntity, keyUsage: ['digitalSignature'], extendedKeyUsage: [] },
  enc: { ...endEntity, keyUsage: ['keyAgreement'], extendedKeyUsage: [] },
  kem: { ...endEntity, keyUsage: ['keyEncipherment'], extendedKeyUsage: [] }, // RFC 9935 §5
};

export const pkiNames: readonly PkiName[] = ['tls', 'e2e'];
export const certificateKinds: readonly CertificateKind[] = ['tls', 'sig', 'enc', 'kem'];
/** What an identity is issued unless somebody asks for others. */
export const usualKinds: readonly CertificateKind[] = ['tls', 'sig', 'enc'];

export function pkiOf(kind: CertificateKind): PkiName {
  return kind === 'tls' ? 'tls' : 'e2e';
}
