/** The reader's side of the key agreement: which encrypted key is ours, and what is in it. */
import type { KeyObject } from 'node:crypto';
import type { Certificate } from '../pki/certificate.ts';
import { DerFault } from '../pki/der.ts';
import { readKeyEncryption } from './algorithms.ts';
import type { AgreementAlgorithm, KeyWrapAlgorithm } from './algorithms.ts';
import type { AuthEnvelopedData } from './auth-enveloped.ts';
import { CmsError } from './errors.ts';
import { requireHybridWrap } from './hybrid.ts';
import type { KemKey } from './hybrid.ts';
import type { HybridRecipientInfo } from './hybrid-recipient-info.ts';
import { identifies } from './identifier.ts';
import type { CertificateIdentifier } from './identifier.ts';
import { deriveKey, sharedInfo } from './kdf.ts';
import type { SharedInfoFlavour } from './kdf.ts';
import type { KeyAgreementKey } from './key-agreement-key.ts';
import { unwrapKey } from './key-wrap.ts';
import type { OriginatorIdentifier } from './recipient-info.ts';

/** A reader's keys. */
export interface RecipientKey extends KeyAgreementKey {
  /** Its ML-KEM-768 key, if it has one; then what is sealed for both keys opens too. */
  readonly kem?: KemKey;
}

/** The encrypted key that is for us, and how it was made. */
export type Addressed = AddressedByAgreement | AddressedByHybrid;

export interface AddressedByAgreement {
  readonly kind: 'agreement';
  readonly originator: OriginatorIdentifier;
  readonly userKeyingMaterial: Buffer | undefined;
  readonly algorithm: AgreementAlgorithm;
  readonly keyWrap: KeyWrapAlgorithm;
  readonly wrapped: Buffer;
}

export interface AddressedByHybrid {
  readonly kind: 'hybrid';
  readonly originator: OriginatorIdentifier;
  readonly info: HybridRecipientInfo;
  readonly kemKey: KeyObject;
}

/**
 * @throws CmsError `cms.not_a_recipient`, `cms.unsupported`
 * @throws DerFault also if we are addressed twice: of two keys, one would open and the other not, and nobody honest does that
 */
export function findAddressed(
  envelope: AuthEnvelopedData,
  { certificate, kem }: Pick<RecipientKey, 'certificate' | 'kem'>,
): Addressed {
  const agreed = envelope.keyAgreements.flatMap((agreement) =>
    agreement.encryptedKeys
      .filter(({ recipient }) => identifies(recipient, certificate))
      .map(({ wrapped }) => ({ agreement, wrapped })),
  );
  const hybrids = envelope.hybrids.filter(
    ({ recipient, kemRecipient }) =>
      identifies(recipient, certificate) || (kem !== undefined && identifies(kemRecipient, kem.certificate)),
  );
  if (agreed.length + hybrids.length > 1) throw new DerFault('the same recipient twice');
  const [[first], [hybrid]] = [agreed, hybrids];
  if (hybrid !== undefined) return requireBothKeys(hybrid, certificate, kem);
  if (first === undefined) throw notRecipient(`the envelope is not for ${certificate.commonName}`);
  const { originator, userKeyingMaterial, keyEncryption } = first.agreement;
  const [algorithm, keyWrap] = readKeyEncryption(keyEncryption);
  return { kind: 'agreement', originator, userKeyingMaterial, algorithm, keyWrap, wrapped: first.wrapped };
}

function requireBothKeys(
  info: HybridRecipientInfo,
  certificate: Certificate,
  kem: KemKey | undefined,
): AddressedByHybrid {
  const isForBoth =
    identifies(info.recipient, certificate) &&
    kem !== undefined &&
    identifies(info.kemRecipient, kem.certificate);
  if (!isForBoth) {
    throw notRecipient(
      `the envelope is for ${certificate.commonName} with another pair of keys, one of ML-KEM`,
    );
  }
  requireHybridWrap(info);
  return { kind: 'hybrid', originator: info.originator, info, kemKey: kem.key };
}

function notRecipient(message: string): CmsError {
  return new CmsError('cms.not_a_recipient', message);
}

/** @returns everyone that the envelope names, by their ENC certificates */
export function recipientsOf({
  keyAgreements,
  hybrids,
}: AuthEnvelopedData): readonly CertificateIdentifier[] {
  return [...keyAgreements.flatMap(({ encryptedKeys }) => encryptedKeys), ...hybrids].map(
    ({ recipient }) => recipient,
  );
}

/**
 * Derives the key-encryption key in each accepted flavour until one unwraps: the check value of the wrap tells.
 *
 * @param secret - Z
 * @param addedMaterial - `addedukm` of ECMQV or `ukm` of ECDH
 * @param contentKeyBytes - as the content algorithm wants it
 * @returns undefined if none does
 */
export function unwrapContentKey(
  addressed: AddressedByAgreement,
  secret: Buffer,
  addedMaterial: Buffer | undefined,
  flavours: readonly SharedInfoFlavour[],
  contentKeyBytes: number,
): Buffer | undefined {
  const { algorithm, keyWrap, wrapped } = addressed;
  for (const flavour of flavours) {
    const info = sharedInfo(flavour, keyWrap.der, addedMaterial, keyWrap.keyBytes);
    const kek = deriveKey(algorithm.hash, secret, info, keyWrap.keyBytes);
    const contentKey = unwrapKey(kek, wrapped, contentKeyBytes);
    kek.fill(0);
    if (contentKey !== undefined) return contentKey;
  }
  return undefined;
}
