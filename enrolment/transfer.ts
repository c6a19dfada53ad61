/** The hand-over of a device: a document that its owner, its new owner and the vendor have all signed. */
import { decodeTransferDocument } from '../domain/enrolment.ts';
import type { TransferDocument } from '../domain/enrolment.ts';
import { administratorName, isWithin } from '../domain/namespace.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import { EnrolmentError } from './errors.ts';
import { verifyMessage } from './signed-message.ts';
import type { SignatureTrust } from './signed-message.ts';

export interface SignedTransfer {
  readonly document: TransferDocument;
  /** Who has not signed yet, in words. */
  readonly missing: readonly string[];
}

/**
 * @throws CmsError, PkiError of the signatures; EnrolmentMessageError; EnrolmentError `enrolment.untrusted` if somebody
 *   signed who has nothing to do with it
 */
export function readTransfer(message: Uint8Array, trust: SignatureTrust): SignedTransfer {
  const { content, signers } = verifyMessage(message, trust);
  const document = decodeTransferDocument(content);
  const parts: Readonly<Record<string, (signer: VerifiedIdentity) => boolean>> = {
    [`its owner, ${accountOf(document.from)}`]: (signer) => owns(signer, document.from),
    [`its new owner, ${accountOf(document.to)}`]: (signer) => owns(signer, document.to),
    [`the vendor, ${administratorName}`]: ({ commonName }) => commonName === administratorName,
  };
  const stranger = signers.find((signer) => !Object.values(parts).some((isPart) => isPart(signer)));
  if (stranger !== undefined) {
    throw new EnrolmentError('enrolment.untrusted', `a transfer that ${stranger.commonName} signed`);
  }
  const missing = Object.entries(parts).flatMap(([name, isPart]) => (signers.some(isPart) ? [] : [name]));
  return { document, missing };
}

/**
 * A transfer that holds: all have signed, and it is its time.
 *
 * @throws as `readTransfer`; EnrolmentError `enrolment.untrusted`
 */
export function requireTransfer(message: Uint8Array, trust: SignatureTrust): TransferDocument {
  const { document, missing } = readTransfer(message, trust);
  if (missing.length > 0) {
    throw new EnrolmentError(
      'enrolment.untrusted',
      `a transfer that is not signed by ${missing.join(', nor by ')}`,
    );
  }
  if (trust.atMs < document.notBeforeMs || trust.atMs > document.expiresAtMs) {
    throw new EnrolmentError('enrolment.untrusted', 'a transfer outside of its time');
  }
  return document;
}

function owns({ commonName, kind, scope }: VerifiedIdentity, device: string): boolean {
  return (
    (kind === 'account' || kind === 'master-account') && scope === 'full' && isWithin(device, commonName)
  );
}

function accountOf(device: string): string {
  return device.split('/').slice(0, 2).join('/');
}
