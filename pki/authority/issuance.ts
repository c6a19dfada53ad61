/** Signs certificates: draft, lint, intent, signature, record, in this order. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { parseCertificate } from '../certificate.ts';
import type { Certificate } from '../certificate.ts';
import { enrolmentPurpose } from '../extensions.ts';
import type { Extension } from '../extensions.ts';
import type { SigningKey } from '../signing-key.ts';
import {
  authorityConstraints,
  authorityKeyIdentifier,
  encodeName,
  encodeToBeSigned,
  encodeUnsigned,
  endEntityConstraints,
  extendedKeyUsage,
  keyIdentifierOf,
  keyUsage,
  signToBeSigned,
  subjectKeyIdentifier,
} from './encode.ts';
import type { CertificateTemplate } from './encode.ts';
import { appendToLedger } from './ledger.ts';
import type { LedgerEntry, LedgerKind } from './ledger.ts';
import { lint } from './lint.ts';
import { profiles } from './profiles.ts';
import type { Profile, ProfileName } from './profiles.ts';
import { rootName } from './store.ts';
import type { CertificateAuthority } from './store.ts';

export interface IssuanceRequest {
  readonly issuer: CertificateAuthority;
  readonly profile: ProfileName;
  readonly kind: LedgerKind;
  readonly commonName: string;
  readonly publicKey: KeyObject;
  readonly alternativeNames?: Extension;
  /** Default: the profile's, but not longer than the issuer's. */
  readonly lifetimeMs?: number;
}

export interface RootRequest {
  readonly pki: CertificateAuthority['pki'];
  readonly commonName: string;
  readonly publicKey: KeyObject;
  readonly privateKey: SigningKey;
}

/** Linted and not signed yet. */
export interface Draft {
  readonly issuer: CertificateAuthority;
  readonly toBeSigned: Buffer;
  readonly facts: Omit<LedgerEntry, 'event'>;
}

interface Question {
  readonly template: CertificateTemplate;
  readonly key: SigningKey;
  readonly entry: Pick<LedgerEntry, 'subject' | 'issuer' | 'kind' | 'pki' | 'scope'>;
  readonly profile: Profile;
  readonly issuer: CertificateAuthority | undefined;
  readonly nowMs: number;
}

/** So that a device whose clock is a little slow can use its certificate at once. */
const backdatingMs = 60 * 60 * 1000;
const secondMs = 1000;

/** @throws PkiError `pki.lint` */
export function draftCertificate(request: IssuanceRequest, nowMs: number): Draft {
  const { issuer, commonName, publicKey } = request;
  const profile = profiles[request.profile];
  const { certificate: above } = issuer;
  const notAfterMs =
    request.lifetimeMs === undefined
      ? Math.min(nowMs + profile.lifetimeMs, above.notAfterMs)
      : nowMs + request.lifetimeMs;
  const template = {
    serialNumber: freshSerialNumber(),
    issuerDer: above.subjectDer,
    subjectDer: encodeName(commonName),
    notBeforeMs: Math.max(wholeSeconds(nowMs - backdatingMs), above.notBeforeMs),
    notAfterMs: wholeSeconds(notAfterMs),
    publicKey,
    extensions: [
      ...extensionsOf(profile, publicKey),
      authorityKeyIdentifier(above.subjectKeyIdentifier ?? Buffer.alloc(0)),
      ...(request.alternativeNames === undefined ? [] : [request.alternativeNames]),
    ],
  };
  const isBootstrap = profile.extendedKeyUsage.includes(enrolmentPurpose);
  const entry = {
    subject: commonName,
    issuer: issuer.name,
    kind: request.kind,
    pki: issuer.pki,
    ...(isBootstrap ? { scope: 'enrolment' as const } : {}),
  };
  return { issuer, ...lintDraft({ template, key: issuer.key, entry, profile, issuer, nowMs }) };
}

/**
 * Signs what was drafted; all of it is recorded as intended before the first signature.
 *
 * @param ledger - of the drafts' PKI
 * @returns in the order of the drafts
 */
export function signDrafts(
  drafts: readonly (Pick<Draft, 'toBeSigned' | 'facts'> & {
    readonly issuer: Pick<CertificateAuthority, 'key'>;
  })[],
  ledger: string,
): Certificate[] {
  appendToLedger(
    ledger,
    drafts.map(({ facts }) => ({ event: 'intended', ...facts })),
  );
  const certificates = drafts.map(({ toBeSigned, issuer }) =>
    parseCertificate(signToBeSigned(toBeSigned, issuer.key)),
  );
  appendToLedger(
    ledger,
    drafts.map(({ facts }, index) => {
      const sha256 = certificates[index]?.sha256.toString('hex') ?? '';
      return { event: 'issued', ...facts, sha256 };
    }),
  );
  return certificates;
}

export function issueRoot(request: RootRequest, ledger: string, nowMs: number): Certificate {
  const profile = profiles.root;
  const name = encodeName(request.commonName);
  const template = {
    serialNumber: freshSerialNumber(),
    issuerDer: name,
    subjectDer: name,
    notBeforeMs: wholeSeconds(nowMs - backdatingMs),
    notAfterMs: wholeSeconds(nowMs + profile.lifetimeMs),
    publicKey: request.publicKey,
    extensions: extensionsOf(profile, request.publicKey),
  };
  const key = request.privateKey;
  const entry = { subject: request.commonName, issuer: rootName, kind: 'ca', pki: request.pki } as const;
  const draft = lintDraft({ template, key, entry, profile, issuer: undefined, nowMs });
  return onlyOne(signDrafts([{ issuer: { key }, ...draft }], ledger));
}

/** One CA below another. @throws PkiError `pki.lint`; then nothing was signed */
export function issueCertificate(request: IssuanceRequest, ledger: string, nowMs: number): Certificate {
  return onlyOne(signDrafts([draftCertificate(request, nowMs)], ledger));
}

function onlyOne([certificate]: readonly Certificate[]): Certificate {
  assert(certificate, 'one draft, one certificate');
  return certificate;
}

function lintDraft({ template, key, entry, profile, issuer, nowMs }: Question): Omit<Draft, 'issuer'> {
  const toBeSigned = encodeToBeSigned(template, key);
  const draft = parseCertificate(encodeUnsigned(toBeSigned, key));
  lint({ draft, profile, issuer, atMs: nowMs });
  const facts = {
    at: new Date(nowMs).toISOString(),
    serial: draft.serialNumber.toString('hex'),
    ...entry,
    notAfter: new Date(template.notAfterMs).toISOString(),
  };
  return { toBeSigned, facts };
}

function extensionsOf(profile: Profile, publicKey: KeyObject): Extension[] {
  return [
    profile.isAuthority ? authorityConstraints(profile.pathLength) : endEntityConstraints(),
    keyUsage(profile.keyUsage),
    ...(profile.extendedKeyUsage.length === 0 ? [] : [extendedKeyUsage(profile.extendedKeyUsage)]),
    subjectKeyIdentifier(keyIdentifierOf(publicKey)),
  ];
}

/** 128 random bits behind a one, so that it is positive and always of one length (RFC 5280 §4.1.2.2). */
function freshSerialNumber(): Buffer {
  return Buffer.concat([Buffer.of(1), randomBytes(16)]);
}

function wholeSeconds(atMs: number): number {
  return Math.floor(atMs / secondMs) * secondMs;
}
