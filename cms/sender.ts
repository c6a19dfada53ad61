/** The originator's side of the key agreement on one curve: the content key, wrapped for each recipient. */
import assert from 'node:assert/strict';
import { keyWrapIdentifiers, mqvOids, writeKeyEncryption } from './algorithms.ts';
import type { Random } from './ecdh.ts';
import { createMqvSender } from './ecmqv.ts';
import type { AgreementKey, MqvSender } from './ecmqv.ts';
import { identifierOf } from './identifier.ts';
import type { IdentifierKind } from './identifier.ts';
import { deriveKey, sharedInfo } from './kdf.ts';
import { requireKeyAgreementKey } from './key-agreement-key.ts';
import type { KeyAgreementKey } from './key-agreement-key.ts';
import { wrapKey } from './key-wrap.ts';
import type { KeyBytes } from './key-wrap.ts';
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

/**
 * @param recipients - on the sender's curve
 * @returns one RecipientInfo with one ephemeral key for all recipients
 */
export function wrapFor(
  sender: Sender,
  recipients: readonly AgreementKey[],
  contentKey: Buffer,
  random: Random,
): Buffer {
  const { ephemeralPoint, secrets } = sender.mqv.agree(recipients, random);
  const encryptedKeys = recipients.map(({ certificate }, index) => {
    const secret = secrets[index];
    assert.ok(secret !== undefined);
    const kek = deriveKey(sender.kdfHash, secret, sender.sharedInfo, sender.keyWrapBytes);
    const wrapped = wrapKey(kek, contentKey);
    secret.fill(0);
    kek.fill(0);
    return { recipient: writeRecipient(identifierOf(certificate, sender.recipientKind)), wrapped };
  });
  return writeKeyAgreement({ ...sender, ephemeralPoint, encryptedKeys });
}
