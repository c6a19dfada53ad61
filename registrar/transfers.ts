/** Devices on their way to another owner: the document is kept, the device told, and the old place closed behind it. */
import { readSignedContent } from '../cms/signed-content.ts';
import { decodeEnrolmentConfirmation, decodeTransferDocument } from '../domain/enrolment.ts';
import type { BrokerAddress } from '../domain/enrolment.ts';
import { onlySigner, verifyMessage } from '../enrolment/signed-message.ts';
import type { SignatureTrust } from '../enrolment/signed-message.ts';
import { requireTransfer } from '../enrolment/transfer.ts';
import type { Authority } from '../pki/authority/authority.ts';
import { PkiError } from '../pki/errors.ts';
import type { Log } from '../runtime/log.ts';
import { PostponedError, RefusalError } from './errors.ts';
import type { SignedRequest } from './examine.ts';
import type { Journal } from './journal.ts';

export interface TransfersOptions {
  readonly authority: Authority;
  readonly journal: Journal;
  readonly log: Log;
}

export class Transfers {
  readonly #options: TransfersOptions;

  constructor(options: TransfersOptions) {
    this.#options = options;
  }

  /**
   * Takes a document that all have signed.
   *
   * @returns it, for the device
   * @throws RefusalError, PostponedError, and as `requireTransfer`
   */
  offer(name: string, message: Buffer, trust: SignatureTrust): Buffer {
    const { journal, log } = this.#options;
    const { id, from, to } = requireTransfer(message, trust);
    if (from !== name) throw new RefusalError(`a transfer of ${from} on the topic of ${name}`);
    const known = journal.findTransfer(id);
    if (known?.isDone === true) throw new RefusalError(`transfer ${id} is over`);
    if (known !== undefined) return known.message;
    journal.addTransfer({ id, from, to, message });
    log.info({ id, from, to }, 'transfer.offered');
    return message;
  }

  /** @throws RefusalError if a device asks for another place than the one that it was given */
  requireOffered({ request, signer }: SignedRequest, atMs: number): void {
    const transfer = this.#options.journal.findTransfer(request.transfer ?? '');
    if (transfer === undefined || transfer.isDone) throw new RefusalError('no such transfer is open');
    const document = decodeTransferDocument(readSignedContent(transfer.message).content);
    if (document.from !== signer.commonName || document.to !== request.path) {
      throw new RefusalError(`the transfer is of ${document.from} to ${document.to}`);
    }
    if (!signer.certificate.sha256.equals(document.deviceCertificate) || signer.scope !== 'full') {
      throw new RefusalError('the transfer is of the device with another certificate');
    }
    if (atMs > document.expiresAtMs) throw new RefusalError('the transfer has expired');
  }

  /** Where a device is to go with the certificates of a transfer. */
  brokerOf(id: string | undefined): BrokerAddress | undefined {
    const transfer = id === undefined ? undefined : this.#options.journal.findTransfer(id);
    return transfer && decodeTransferDocument(readSignedContent(transfer.message).content).broker;
  }

  /**
   * A device works in its new place: what it had in the old one is revoked.
   *
   * @returns the old place, whose topic is free again
   * @throws RefusalError, PostponedError, and as `verifyMessage`
   */
  async confirm(name: string, message: Buffer, trust: SignatureTrust): Promise<string> {
    const { authority, journal, log } = this.#options;
    const verified = verifyMessage(message, trust);
    const { commonName, scope } = onlySigner(verified);
    decodeEnrolmentConfirmation(verified.content);
    const [transfer] = journal.openTransfersTo(name);
    if (transfer === undefined || commonName !== name || scope !== 'full') {
      throw new RefusalError(`no transfer to ${name} is open that ${commonName} confirms`);
    }
    const { id, from, to } = transfer;
    try {
      await authority.revoke({ target: { path: from }, reason: 'affiliationChanged' });
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      // It comes once: what cannot be revoked now must be, later.
      if (isTransient(error)) throw new PostponedError(error.message, { cause: error });
      // Revoked before, such as right before we were killed.
      if (error.code !== 'pki.unknown_certificate') throw error;
    }
    journal.finishTransfer(id);
    log.info({ id, from, to }, 'transfer.done');
    return from;
  }
}

/** Of the disk, or of another process; over without anybody. */
function isTransient({ code }: PkiError): boolean {
  return code === 'pki.storage' || code === 'pki.authority_busy';
}
