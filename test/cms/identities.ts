/** Identities with real certificates, in memory. */
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { KemKey } from '../../cms/hybrid.ts';
import type { Originator } from '../../cms/originator.ts';
import type { KeyAgreementKey } from '../../cms/key-agreement-key.ts';
import type { RecipientKey } from '../../cms/recipient.ts';
import type { SealContext } from '../../cms/seal.ts';
import type { SignatureKey } from '../../cms/signer-info.ts';
import type { CurveName } from '../../pki/certificate.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import type { Rogue } from '../pki/rogue-authority.ts';

type SignatureKeyInFile = SignatureKey & { readonly key: KeyObject };

export interface Identity {
  readonly signatureKey: SignatureKeyInFile;
  readonly recipient: RecipientKey;
  readonly sealKeys: { readonly signature?: SignatureKeyInFile; readonly keyAgreement: KeyAgreementKey };
  readonly originator: Originator;
}

/** Fixed, so that nothing depends on when a test runs. */
export const signingTimeMs = Date.UTC(2026, 10, 20, 12, 0, 0);

export const authority: Rogue = rogueCertificate({ commonName: 'Test E2E root', ca: {} });

export function makeIdentity(commonName: string, curve: CurveName = 'P-256', issuer = authority): Identity {
  const signatureKey = rogueCertificate({ issuer, commonName, curve });
  const recipient = rogueCertificate({ issuer, commonName, curve, keyUsage: ['keyAgreement'] });
  return {
    signatureKey,
    recipient,
    sealKeys: { signature: signatureKey, keyAgreement: recipient },
    originator: { commonName, signature: signatureKey.certificate, keyAgreement: recipient.certificate },
  };
}

/** An ML-KEM-768 key with a certificate as RFC 9935 has it. */
export function makeKem(commonName: string, issuer = authority): KemKey {
  return rogueCertificate({
    issuer,
    commonName,
    keyUsage: ['keyEncipherment'],
    keyPair: generateKeyPairSync('ml-kem-768'),
  });
}

export function contextOf(changes: Partial<SealContext> = {}): SealContext {
  return {
    topic: 'ms-acc-1/acc-1/dev-1/snapshots',
    sequence: 7,
    previousDigest: undefined,
    contentType: 'senml+cbor',
    signingTimeMs,
    ...changes,
  };
}
