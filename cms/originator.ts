/** Who may have made an envelope: what the reader of envelopes is told, and how it looks a sender up. */
import type { Certificate, CurveName } from '../pki/certificate.ts';
import type { VerifiedPath } from '../pki/path.ts';
import { certificatesMax } from './limits.ts';
import { decodePoint, encodePoint } from './ecdh.ts';
import { CmsError, rejected } from './errors.ts';
import { identifies } from './identifier.ts';
import type { CertificateIdentifier } from './identifier.ts';
import type { OriginatorIdentifier, OriginatorPublicKey } from './recipient-info.ts';
import type { Suite } from './suite.ts';

/** An identity whose certificates are verified and trusted. Both have its common name. */
export interface Originator {
  readonly commonName: string;
  /** Its SIG certificate; absent for one that only ever makes bare envelopes. */
  readonly signature?: Certificate;
  /** Its ENC certificate. */
  readonly keyAgreement: Certificate;
  /** How each was verified, for whoever asks later whether one was revoked. */
  readonly paths?: readonly VerifiedPath[];
}

/** Each finds the identity that either of whose certificates is meant, or undefined. */
export interface Originators {
  byKeyIdentifier(keyIdentifier: Buffer): Originator | undefined;
  byIssuerAndSerial(issuerDer: Buffer, serialNumber: Buffer): Originator | undefined;
  /** @param point - SEC 1 uncompressed */
  byPublicPoint(curve: CurveName, point: Buffer): Originator | undefined;
}

/** What an envelope brought along. Nothing of it is verified. */
export interface OfferedCertificates {
  /** The one that the envelope's key agreement names. */
  readonly keyAgreement: Certificate;
  /** One with the same common name that a signature names. */
  readonly signature: Certificate | undefined;
  /** Those two and whatever else, presumably CAs, in no order. */
  readonly all: readonly Certificate[];
}

/**
 * Verifies certificates that came with an envelope, up to a pinned root.
 *
 * @returns undefined if they are not to be trusted
 */
export type VerifyChain = (offered: OfferedCertificates) => Originator | undefined;

/**
 * Pairs certificates by common name.
 *
 * @param certificates - ENC and SIG certificates of any number of identities; CAs are passed over
 * @returns one for each ENC certificate
 */
export function pairCertificates(certificates: readonly Certificate[]): Originator[] {
  const leaves = certificates.filter(({ isAuthority }) => !isAuthority);
  return leaves.flatMap((keyAgreement) => {
    const { commonName, keyUsage } = keyAgreement;
    if (commonName === undefined || keyUsage?.has('keyAgreement') !== true) return [];
    const signature = leaves.find(
      (leaf) => leaf.commonName === commonName && leaf.keyUsage?.has('digitalSignature') === true,
    );
    return [{ commonName, keyAgreement, ...(signature === undefined ? {} : { signature }) }];
  });
}

/** The originators of a fixed list, found by any of their certificates. */
export function originatorsOf(list: readonly Originator[]): Originators {
  const byKeyIdentifier = new Map<string, Originator>();
  const byIssuerAndSerial = new Map<string, Originator>();
  const byPublicPoint = new Map<string, Originator>();
  for (const originator of list) {
    for (const certificate of [originator.keyAgreement, originator.signature]) {
      if (certificate === undefined) continue;
      const { subjectKeyIdentifier, issuerDer, serialNumber, curve, publicPoint } = certificate;
      if (subjectKeyIdentifier !== undefined) byKeyIdentifier.set(hex(subjectKeyIdentifier), originator);
      byIssuerAndSerial.set(`${hex(issuerDer)}/${hex(serialNumber)}`, originator);
      if (publicPoint !== undefined) byPublicPoint.set(`${curve}/${hex(publicPoint)}`, originator);
    }
  }
  return {
    byKeyIdentifier: (keyIdentifier) => byKeyIdentifier.get(hex(keyIdentifier)),
    byIssuerAndSerial: (issuerDer, serialNumber) =>
      byIssuerAndSerial.get(`${hex(issuerDer)}/${hex(serialNumber)}`),
    byPublicPoint: (curve, point) => byPublicPoint.get(`${curve}/${hex(point)}`),
  };
}

/** Finds the identity behind a key agreement, and makes sure that it is that identity's ENC key. */
export function findOriginator(
  originators: Originators,
  identifier: OriginatorIdentifier,
  suite: Suite,
): Originator | undefined {
  if (identifier.kind === 'publicKey') {
    const point = pointOf(identifier, suite);
    const found = originators.byPublicPoint(suite.curve, point);
    return found?.keyAgreement.publicPoint?.equals(point) === true ? found : undefined;
  }
  const found = findByIdentifier(originators, identifier);
  return found !== undefined && identifies(identifier, found.keyAgreement) ? found : undefined;
}

/** Finds the identity whose SIG certificate a signature names. */
export function findSigner(
  originators: Originators,
  identifier: CertificateIdentifier,
): Originator | undefined {
  const found = findByIdentifier(originators, identifier);
  const { signature } = found ?? {};
  return signature !== undefined && identifies(identifier, signature) ? found : undefined;
}

/** Sorts what an envelope brought along; undefined if the originator's certificate is not among it. */
export function offerOf(
  embedded: readonly Certificate[],
  identifier: OriginatorIdentifier,
  signers: readonly CertificateIdentifier[],
  suite: Suite,
): OfferedCertificates | undefined {
  const all = embedded.slice(0, certificatesMax);
  const keyAgreement = all.find((certificate) =>
    identifier.kind === 'publicKey'
      ? certificate.curve === suite.curve &&
        certificate.publicPoint?.equals(pointOf(identifier, suite)) === true
      : identifies(identifier, certificate),
  );
  if (keyAgreement === undefined) return undefined;
  const signature = all.find(
    (certificate) =>
      certificate.commonName === keyAgreement.commonName &&
      signers.some((signer) => identifies(signer, certificate)),
  );
  return { keyAgreement, signature, all };
}

/**
 * One identity has one name, in both of its certificates (DESIGN §3).
 *
 * @throws CmsError `cms.untrusted_originator` if whoever vouched for them overlooked that
 */
export function requireOneIdentity({ commonName, keyAgreement, signature }: Originator): void {
  const names = [keyAgreement.commonName, signature === undefined ? commonName : signature.commonName];
  if (names.some((name) => name !== commonName)) {
    throw new CmsError(
      'cms.untrusted_originator',
      `the certificates of ${commonName} have other common names`,
    );
  }
}

function findByIdentifier(
  originators: Originators,
  identifier: CertificateIdentifier,
): Originator | undefined {
  return identifier.kind === 'keyIdentifier'
    ? originators.byKeyIdentifier(identifier.keyIdentifier)
    : originators.byIssuerAndSerial(identifier.issuerDer, identifier.serialNumber);
}

/** @throws CmsError `cms.rejected` if it is no point of the suite's curve */
export function pointOf(key: OriginatorPublicKey, suite: Suite): Buffer {
  requireCurve(key, suite);
  return encodePoint(suite, decodePoint(suite, key.point));
}

/** @throws CmsError `cms.rejected` if the key says that it is on another curve than the recipient's */
export function requireCurve(key: OriginatorPublicKey, suite: Suite): void {
  if (key.curveOid !== undefined && !key.curveOid.equals(suite.curveOid)) {
    throw rejected();
  }
}

function hex(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.length).toString('hex');
}
