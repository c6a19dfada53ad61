/** A CA that signs anything it is asked to: for tests of what must be refused. Never part of the product. */
import { generateKeyPairSync, KeyObject, randomBytes } from 'node:crypto';
import type { Authority } from '../../pki/authority/authority.ts';
import {
  authorityConstraints,
  authorityKeyIdentifier,
  encodeCrlToBeSigned,
  encodeName,
  encodeToBeSigned,
  endEntityConstraints,
  extendedKeyUsage,
  keyIdentifierOf,
  keyUsage,
  signToBeSigned,
  subjectKeyIdentifier,
} from '../../pki/authority/encode.ts';
import type { RevokedEntry } from '../../pki/authority/encode.ts';
import type { PkiName } from '../../pki/authority/profiles.ts';
import { loadAuthority } from '../../pki/authority/store.ts';
import { parseCertificate } from '../../pki/certificate.ts';
import type { Certificate, CurveName } from '../../pki/certificate.ts';
import { parseCrl } from '../../pki/crl.ts';
import type { Crl } from '../../pki/crl.ts';
import type { Extension, KeyUsage } from '../../pki/extensions.ts';

export const clientAuth = '1.3.6.1.5.5.7.3.2';
export const serverAuth = '1.3.6.1.5.5.7.3.1';

/** A certificate with its key; if it is a CA, it can sign. */
export interface Rogue {
  readonly certificate: Certificate;
  readonly key: KeyObject;
}

export interface RogueRequest {
  /** Absent: self-signed. */
  readonly issuer?: Rogue;
  readonly commonName?: string;
  /** A whole Name, in place of `commonName`. */
  readonly subjectDer?: Uint8Array;
  /** In place of the issuer's subject. */
  readonly issuerDer?: Uint8Array;
  readonly serialNumber?: Uint8Array;
  /** Default: a year around now. */
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  readonly curve?: CurveName | 'secp256k1';
  /** Default: a fresh pair on `curve`. */
  readonly keyPair?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  /** `ca`: with that path length, or none. Default: an end entity. */
  readonly ca?: { readonly pathLength?: number };
  /** Default: what its kind needs; `[]`: no such extension. */
  readonly keyUsage?: readonly KeyUsage[];
  readonly extendedKeyUsage?: readonly string[];
  /** Added to the rest. */
  readonly extensions?: readonly Extension[];
}

const halfYearMs = 183 * 24 * 60 * 60 * 1000;

/** Signs whatever was asked for. */
export function rogueCertificate(request: RogueRequest): Rogue {
  const { issuer, ca, curve = 'P-256', commonName = 'nobody' } = request;
  const pair = request.keyPair ?? generateKeyPairSync('ec', { namedCurve: curve });
  const subjectDer = request.subjectDer ?? encodeName(commonName);
  const usages = request.keyUsage ?? (ca === undefined ? ['digitalSignature'] : ['keyCertSign', 'cRLSign']);
  const purposes = request.extendedKeyUsage ?? [];
  const signingKey = issuer?.key ?? pair.privateKey;
  const template = {
    serialNumber: request.serialNumber ?? Buffer.concat([Buffer.of(1), randomBytes(16)]),
    issuerDer: request.issuerDer ?? issuer?.certificate.subjectDer ?? subjectDer,
    subjectDer,
    notBeforeMs: request.notBeforeMs ?? Date.now() - halfYearMs,
    notAfterMs: request.notAfterMs ?? Date.now() + halfYearMs,
    publicKey: pair.publicKey,
    extensions: [
      ca === undefined ? endEntityConstraints() : authorityConstraints(ca.pathLength),
      ...(usages.length === 0 ? [] : [keyUsage(usages)]),
      ...(purposes.length === 0 ? [] : [extendedKeyUsage(purposes)]),
      subjectKeyIdentifier(keyIdentifierOf(pair.publicKey)),
      ...(issuer?.certificate.subjectKeyIdentifier === undefined
        ? []
        : [authorityKeyIdentifier(issuer.certificate.subjectKeyIdentifier)]),
      ...(request.extensions ?? []),
    ],
  };
  const certificate = parseCertificate(signToBeSigned(encodeToBeSigned(template, signingKey), signingKey));
  return { certificate, key: pair.privateKey };
}

/** A CA of a real authority, to be misused. @param name - `root`, `vendor`, `ms-acc-1`, … */
export function stolenAuthority(authority: Authority, pki: PkiName, name: string): Rogue {
  const { certificate, key } = loadAuthority(authority.directory, pki, name, undefined);
  if (!(key instanceof KeyObject)) throw new TypeError('keys on a token cannot be stolen');
  return { certificate, key };
}

export interface RogueCrlRequest {
  readonly issuer: Rogue;
  readonly number: number;
  readonly entries?: readonly RevokedEntry[];
  /** Default: an hour ago, and in a week. */
  readonly thisUpdateMs?: number;
  readonly nextUpdateMs?: number;
  /** Signs in place of the issuer's key. */
  readonly key?: KeyObject;
}

export function rogueCrl(request: RogueCrlRequest): Crl {
  const key = request.key ?? request.issuer.key;
  const template = {
    issuer: request.issuer.certificate,
    number: request.number,
    thisUpdateMs: request.thisUpdateMs ?? Date.now() - 3_600_000,
    nextUpdateMs: request.nextUpdateMs ?? Date.now() + 7 * 86_400_000,
    entries: request.entries ?? [],
  };
  return parseCrl(signToBeSigned(encodeCrlToBeSigned(template, key), key));
}
