/**
 * The key-encryption key of a recipient who has an ML-KEM-768 key (FIPS 203) besides its ENC key: whoever wants it has to
 * break both.
 *
 *     KEK = HKDF-SHA-256(IKM = ML-KEM's secret ‖ ECMQV's Z, salt = none, info = DER of CMSORIforKEMOtherInfo)
 *
 * This is the hybrid of SP 800-56C rev. 2 §2, Z' = Z ‖ T, with both parts of fixed length; RFC 9629 §5 has the rest. The
 * info names both parties, the ephemeral key and the ciphertext, so nothing that went into either secret can be
 * exchanged. The combination is ours and no standard's; docs/wire.md has the argument.
 */
import { createSecretKey, decapsulate, encapsulate, hkdfSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { kemKeyType } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { keyWrapIdentifiers, readKeyWrap } from './algorithms.ts';
import { CmsError } from './errors.ts';
import { writeHybridRecipient } from './hybrid-recipient-info.ts';
import type { HybridRecipientInfo, WrittenHybrid } from './hybrid-recipient-info.ts';
import { unwrapKey, wrapKey } from './key-wrap.ts';
import type { KeyBytes } from './key-wrap.ts';

/** Both certificates have its common name. */
export interface HybridRecipient {
  /** Its ENC certificate. */
  readonly keyAgreement: Certificate;
  /** Its ML-KEM-768 certificate (RFC 9935). */
  readonly kem: Certificate;
}

/** A certified ML-KEM-768 key. */
export interface KemKey {
  readonly key: KeyObject;
  readonly certificate: Certificate;
}

/** @throws CmsError `cms.unsupported` if the certificates are not one recipient's, or the key is not for ML-KEM-768 */
export function requireHybrid({ keyAgreement, kem }: HybridRecipient): void {
  // RFC 9935 §5: keyEncipherment is the only usage.
  const mayEncipher = kem.keyUsage === undefined || kem.keyUsage.has('keyEncipherment');
  if (kem.publicKey.asymmetricKeyType !== kemKeyType || !mayEncipher) {
    throw new CmsError('cms.unsupported', `the certificate of ${kem.commonName} is not for ML-KEM-768`);
  }
  if (kem.commonName !== keyAgreement.commonName) {
    throw new CmsError('cms.unsupported', 'the two certificates of a recipient have one common name');
  }
}

/** @throws CmsError `cms.unsupported` if the key is not the certificate's, and as `requireHybrid` */
export function requireKemKey({ key, certificate }: KemKey, keyAgreement: Certificate): void {
  requireHybrid({ keyAgreement, kem: certificate });
  if (!certificate.x509.checkPrivateKey(key)) {
    throw new CmsError('cms.unsupported', `the ML-KEM key is not that of ${certificate.commonName}`);
  }
}

/**
 * @param kem - checked by `requireHybrid`
 * @param agreed - Z
 * @returns a whole RecipientInfo
 */
export function wrapHybrid(
  kem: Certificate,
  agreed: Buffer,
  contentKey: Buffer,
  keyWrapBytes: KeyBytes,
  written: Omit<WrittenHybrid, 'ciphertext' | 'keyWrap' | 'kekBytes'>,
): Buffer {
  const { sharedKey, ciphertext } = encapsulate(kem.publicKey);
  const whole = {
    ...written,
    ciphertext,
    keyWrap: keyWrapIdentifiers[keyWrapBytes],
    kekBytes: keyWrapBytes,
  };
  try {
    return writeHybridRecipient(whole, (otherInfo) => {
      const kek = hybridKek(sharedKey, agreed, otherInfo, keyWrapBytes);
      const wrapped = wrapKey(kek, contentKey);
      kek.fill(0);
      return wrapped;
    });
  } finally {
    sharedKey.fill(0);
  }
}

/**
 * @param info - whose `keyWrap` was checked by `requireHybridWrap`
 * @param agreed - Z
 * @returns undefined if it does not unwrap
 */
export function unwrapHybrid(
  info: HybridRecipientInfo,
  key: KeyObject,
  agreed: Buffer,
  contentKeyBytes: KeyBytes,
): Buffer | undefined {
  // Of a ciphertext that was not made for this key, ML-KEM makes a secret all the same (FIPS 203 §6.3).
  const sharedKey = decapsulate(key, info.ciphertext);
  const kek = hybridKek(sharedKey, agreed, info.otherInfo, info.kekBytes);
  const contentKey = unwrapKey(kek, info.wrapped, contentKeyBytes);
  for (const secret of [sharedKey, kek]) secret.fill(0);
  return contentKey;
}

/** @throws CmsError `cms.unsupported` if the wrap is none of ours, or the key-encryption key of another length */
export function requireHybridWrap({ keyWrap, kekBytes }: HybridRecipientInfo): void {
  const { keyBytes } = readKeyWrap(keyWrap);
  if (keyBytes === kekBytes) return;
  throw new CmsError(
    'cms.unsupported',
    `a key-encryption key of ${kekBytes} octets for a wrap of ${keyBytes}`,
  );
}

/**
 * @param kemSecret - 32 octets
 * @param agreed - Z, as long as the field
 * @returns the key-encryption key, which the caller erases
 */
export function hybridKek(kemSecret: Buffer, agreed: Buffer, otherInfo: Buffer, bytes: number): Buffer {
  const secret = Buffer.concat([kemSecret, agreed]);
  const noSalt = Buffer.alloc(0); // RFC 8619 §2
  try {
    return Buffer.from(hkdfSync('sha256', createSecretKey(secret), noSalt, otherInfo, bytes));
  } finally {
    secret.fill(0);
  }
}
