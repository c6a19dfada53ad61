/** A private key for key agreement with its certificate, whoever holds it: an originator or a recipient. */
import type { KeyObject } from 'node:crypto';
import type { Certificate } from '../pki/certificate.ts';
import { agreementKey } from './ecmqv.ts';
import type { AgreementKey } from './ecmqv.ts';
import { CmsError } from './errors.ts';

/** A certified ENC key. */
export interface KeyAgreementKey {
  readonly key: KeyObject;
  readonly certificate: Certificate;
}

/** @throws CmsError `cms.unsupported` if the key is not the certificate's, or not for key agreement */
export function requireKeyAgreementKey({ key, certificate }: KeyAgreementKey): AgreementKey {
  const agreement = agreementKey(certificate);
  if (!certificate.x509.checkPrivateKey(key)) {
    throw new CmsError('cms.unsupported', `the key-agreement key is not that of ${certificate.commonName}`);
  }
  return agreement;
}
