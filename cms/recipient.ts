/** The reader's side of the key agreement: which encrypted key is ours, and what is in it. */
import type { Certificate } from '../pki/certificate.ts';
import { DerFault } from '../pki/der.ts';
import { readKeyEncryption } from './algorithms.ts';
import type { AgreementAlgorithm, KeyWrapAlgorithm } from './algorithms.ts';
import type { AuthEnvelopedData } from './auth-enveloped.ts';
import { CmsError } from './errors.ts';
import { identifies } from './identifier.ts';
import { deriveKey, sharedInfo } from './kdf.ts';
import type { SharedInfoFlavour } from './kdf.ts';
import type { KeyAgreementKey } from './key-agreement-key.ts';
import { unwrapKey } from './key-wrap.ts';
import type { EncryptedKey, KeyAgreement } from './recipient-info.ts';

export type RecipientKey = KeyAgreementKey;

/** The encrypted key that is for us, and how it was made. */
export interface Addressed {
  readonly agreement: KeyAgreement;
  readonly algorithm: AgreementAlgorithm;
  readonly keyWrap: KeyWrapAlgorithm;
  readonly wrapped: Buffer;
}

/**
 * @throws CmsError `cms.not_a_recipient`, `cms.unsupported`
 * @throws DerFault also if we are addressed twice: of two keys, one would open and the other not, and nobody honest does that
 */
export function findAddressed(envelope: AuthEnvelopedData, certificate: Certificate): Addressed {
  const found: { agreement: KeyAgreement; encryptedKey: EncryptedKey }[] = [];
  for (const agreement of envelope.keyAgreements) {
    for (const encryptedKey of agreement.encryptedKeys) {
      if (identifies(encryptedKey.recipient, certificate)) found.push({ agreement, encryptedKey });
    }
  }
  const [first] = found;
  if (first === undefined) {
    throw new CmsError('cms.not_a_recipient', `the envelope is not for ${certificate.commonName}`);
  }
  if (found.length > 1) throw new DerFault('the same recipient twice');
  const { agreement, encryptedKey } = first;
  const [algorithm, keyWrap] = readKeyEncryption(agreement.keyEncryption);
  return { agreement, algorithm, keyWrap, wrapped: encryptedKey.wrapped };
}

/**
 * Derives the key-encryption key in each accepted flavour until one unwraps: the check value of the wrap tells.
 *
 * @param secret - Z; erased
 * @param addedMaterial - `addedukm` of ECMQV or `ukm` of ECDH
 * @param contentKeyBytes - as the content algorithm wants it
 * @returns undefined if none does
 */
export function unwrapContentKey(
  addressed: Addressed,
  secret: Buffer,
  addedMaterial: Buffer | undefined,
  flavours: readonly SharedInfoFlavour[],
  contentKeyBytes: number,
): Buffer | undefined {
  const { algorithm, keyWrap, wrapped } = addressed;
  try {
    for (const flavour of flavours) {
      const info = sharedInfo(flavour, keyWrap.der, addedMaterial, keyWrap.keyBytes);
      const kek = deriveKey(algorithm.hash, secret, info, keyWrap.keyBytes);
      const contentKey = unwrapKey(kek, wrapped, contentKeyBytes);
      kek.fill(0);
      if (contentKey !== undefined) return contentKey;
    }
    return undefined;
  } finally {
    secret.fill(0);
  }
}
