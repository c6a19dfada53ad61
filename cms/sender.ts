/** The originator's side of the key agreement on one curve: the content key, wrapped for each recipient. */
import assert from 'node:assert/strict';
import type { Certificate } from '../pki/certificate.ts';
import { keyWrapIdentifiers, mqvOids, writeKeyEncryption } from './algorithms.ts';
import { createMqvSender } from './ecmqv.ts';
import type { AgreementKey, MqvSender } from './ecmqv.ts';
import { wrapHybrid } from './hybrid.ts';
import { identifierOf, writeIdentifier } from './identifier.ts';
import type { IdentifierKind } from './identifier.ts';
import { deriveKey, sharedInfo } from './kdf.ts';
import { requireKeyAgreementKey } from './key-agreement-key.ts';
import type { KeyAgreementKey } from './key-agreement-key.ts';
import { wrapKey } from './key-wrap.ts';
import type { KeyBytes } from './key-wrap.ts';
import type { Random } from './random.ts';
import { writeKeyAgreement, writeOriginator, writeRecipient } from './recipient-info.ts';
import type { FullFormat } from './seal-format.ts';
import type { Suite } from './suite.ts';

export interface Sender {
  readonly agreement: AgreementKey;
  readonly mqv: MqvSender;
  /** What follows is the same in every envelope, so it is encoded once. */
  readonly originator: Buffer;
  readonly keyEncryption: Buffer;
  readonly sharedInfo: Buffer;
  readonly kdfHash: Suite['hash'];
  readonly keyWrapBytes: KeyBytes;
  readonly recipientKind: IdentifierKind;
}

/** A recipient, as far as the one who seals needs it. */
export interface Reader {
  readonly agreement: AgreementKey;
  /** Its ML-KEM certificate: then the content key is wrapped so that both of its keys are needed. */
  readonly kem: Certificate | undefined;
}

/** @throws CmsError `cms.unsupported` if key and certificate do not fit each other, or cannot be named as the format asks */
export function createSender(own: KeyAgreementKey, format: FullFormat): Sender {
  const agreement = requireKeyAgreementKey(own);
  const { suite, certificate, point } = agreement;
  const { keyWrapBytes, kdfHash = suite.hash } = format;
  const keyWrap = keyWrapIdentifiers[keyWrapBytes];
  return {
    agreement,
    mqv: createMqvSender(agreement, own.key),
    originator: writeOriginator(
      format.originator === 'publicKey'
        ? { kind: 'publicKey', point, curveOid: suite.curveOid }
        : identifierOf(certificate, format.originator),
    ),
    keyEncryption: writeKeyEncryption(mqvOids[kdfHash], keyWrap),
    sharedInfo: sharedInfo(format.kdfFlavour, keyWrap, undefined, keyWrapBytes),
    kdfHash,
    keyWrapBytes,
    recipientKind: format.recipient,
  };
}

/** A reader as a sender addresses it: the same in every envelope, so it is encoded once. */
export interface AddressedReader {
  readonly agreement: AgreementKey;
  readonly recipient: Buffer;
  readonly kem: { readonly certificate: Certificate; readonly recipient: Buffer } | undefined;
}

/** @throws CmsError `cms.unsupported` if a certificate cannot be named as the format asks */
export function addressReader({ recipientKind }: Sender, { agreement, kem }: Reader): AddressedReader {
  return {
    agreement,
    recipient: writeRecipient(identifierOf(agreement.certificate, recipientKind)),
    kem: kem && { certificate: kem, recipient: writeIdentifier(identifierOf(kem, recipientKind)) },
  };
}

/**
 * @param readers - on the sender's curve
 * @returns RecipientInfos with one ephemeral key for all readers: one of its own for each who has an ML-KEM key too, and
 *   one for the others together
 */
export function wrapFor(
  sender: Sender,
  readers: readonly AddressedReader[],
  contentKey: Buffer,
  random: Random,
): readonly Buffer[] {
  const { ephemeralPoint, secrets } = sender.mqv.agree(
    readers.map(({ agreement }) => agreement),
    random,
  );
  const hybrids: Buffer[] = [];
  const encryptedKeys: { recipient: Buffer; wrapped: Buffer }[] = [];
  readers.forEach(({ kem, recipient }, index) => {
    const secret = secrets[index];
    assert.ok(secret !== undefined);
    if (kem === undefined) {
      encryptedKeys.push({ recipient, wrapped: wrapAgreed(sender, secret, contentKey) });
    } else {
      const { originator, keyWrapBytes } = sender;
      const written = { originator, recipient, kemRecipient: kem.recipient, ephemeralPoint };
      hybrids.push(wrapHybrid(kem.certificate, secret, contentKey, keyWrapBytes, written));
    }
    secret.fill(0);
  });
  return encryptedKeys.length === 0
    ? hybrids
    : [writeKeyAgreement({ ...sender, ephemeralPoint, encryptedKeys }), ...hybrids];
}

function wrapAgreed(sender: Sender, secret: Buffer, contentKey: Buffer): Buffer {
  const kek = deriveKey(sender.kdfHash, secret, sender.sharedInfo, sender.keyWrapBytes);
  const wrapped = wrapKey(kek, contentKey);
  kek.fill(0);
  return wrapped;
}
