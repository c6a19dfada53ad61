/** Valid messages of every kind, ways to bend them, and a sender who writes what none of ours does. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { getHeapStatistics } from 'node:v8';
import { attribute, contentTypeAttribute, signingTimeAttribute } from '../../../cms/attributes.ts';
import { chainVerifier } from '../../../cms/chain.ts';
import { commitTo } from '../../../cms/commitment.ts';
import type { ContentEncoding } from '../../../cms/content-encoding.ts';
import { derSetOf } from '../../../cms/der-writer.ts';
import { agreementKey, createMqvSender } from '../../../cms/ecmqv.ts';
import { writeEnvelopeInfo } from '../../../cms/envelope-info.ts';
import { writeContentInfo } from '../../../cms/envelope.ts';
import { encrypt } from '../../../cms/gcm.ts';
import { identifierOf } from '../../../cms/identifier.ts';
import { oids } from '../../../cms/oid.ts';
import { createOpener } from '../../../cms/open.ts';
import type { OpenerSettings } from '../../../cms/open.ts';
import { originatorsOf } from '../../../cms/originator.ts';
import { createSealer } from '../../../cms/seal.ts';
import type { Recipient, SealContext, SealKeys } from '../../../cms/seal.ts';
import type { SealFormat } from '../../../cms/seal-format.ts';
import { addSignature } from '../../../cms/sign.ts';
import { writeSignedData } from '../../../cms/signed-data.ts';
import { makeSignerInfo } from '../../../cms/signer-info.ts';
import { readForest, writeForest } from '../../../fuzz/tlv.ts';
import type { Tlv } from '../../../fuzz/tlv.ts';
import { rogueCertificate } from '../../pki/rogue-authority.ts';
import { assemble } from '../attacker.ts';
import { authority, contextOf, makeIdentity, makeKem, signingTimeMs } from '../identities.ts';
import type { Identity } from '../identities.ts';

const master = rogueCertificate({ issuer: authority, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });
export const device = makeIdentity('ms-acc-1/acc-1/dev-1', 'P-256', account);
export const auditor = makeIdentity('ms-acc-1');
const plainBackend = makeIdentity('vendor-snapshot-service');
export const backend = {
  ...plainBackend,
  recipient: { ...plainBackend.recipient, kem: makeKem('vendor-snapshot-service') },
};
export const content = Buffer.from('[{"n":"fuel.temperature","u":"Cel","v":21.5}]'.repeat(4));
const readers = [backend.recipient.certificate, auditor.recipient.certificate];

export function seal(
  format: SealFormat = {},
  changes: Partial<SealContext> = {},
  recipients: readonly Recipient[] = readers,
  keys: SealKeys = device.sealKeys,
): Buffer {
  return createSealer(keys, { format }).seal(content, recipients, contextOf(changes)).envelope;
}

const bareKeys = { keyAgreement: device.sealKeys.keyAgreement };
const hybrid = { keyAgreement: backend.recipient.certificate, kem: backend.recipient.kem.certificate };
const embedChain = [account.certificate, master.certificate];
export const bare = seal({}, {}, readers, bareKeys);

/** Each opens for the backend with `laxOpener`. */
export const messages: Readonly<Record<string, Buffer>> = {
  signed: seal(),
  released: addSignature(seal(), auditor.signatureKey, signingTimeMs),
  'with its chain': seal({}, { embedChain }),
  'by names': seal({ originator: 'issuerAndSerial', recipient: 'issuerAndSerial' }),
  'by raw key': seal({ originator: 'publicKey', contentKeyBytes: 16, keyWrapBytes: 24 }),
  hybrid: seal({}, {}, [hybrid, auditor.recipient.certificate]),
  bare,
  'bare with its chain': seal({}, { embedChain }, readers, bareKeys),
  'bare and plain': seal({ attributes: 'plain', kdfFlavour: 'bc' }, {}, readers, bareKeys),
  'in BER': edited(seal(), (root) => {
    for (const path of [[], [1], [1, 0], [1, 0, 2], [1, 0, 2, 1]]) at(root, ...path).length = 'indefinite';
  }),
};

const lax = { allowUnsigned: true, kdfFlavours: ['rfc5753', 'bc'] } as const;

export function openerFor(reader: Identity = backend, changes: Partial<OpenerSettings> = {}) {
  return createOpener({
    recipient: reader.recipient,
    originators: originatorsOf([device.originator, auditor.originator]),
    verifyChain: chainVerifier({ roots: [authority.certificate], clock: () => Date.now() }),
    ...changes,
  });
}

export const laxOpener = openerFor(backend, { policy: lax });
/** Knows nobody: it depends on the chain inside. */
export const chainOpener = openerFor(backend, { policy: lax, originators: originatorsOf([]) });

/** @param change - is given the one element that the octets are */
export function edited(octets: Buffer, change: (root: Tlv) => void): Buffer {
  const [root] = readForest(octets) ?? [];
  assert.ok(root);
  change(root);
  return writeForest([root]);
}

/** The element that is reached by taking a child at each step. */
export function at(node: Tlv, ...path: readonly number[]): Tlv {
  let found = node;
  for (const step of path) {
    const child = found.children?.at(step);
    assert.ok(child, `no child ${step}`);
    found = child;
  }
  return found;
}

/** Gives an element other content, and takes away whatever was in it. */
export function fill(node: Tlv, octets: Buffer): void {
  Object.assign(node, { octets, children: undefined });
}

export function childrenOf(node: Tlv): Tlv[] {
  assert.ok(node.children);
  return node.children;
}

export interface Written {
  /** As encrypted. */
  readonly octets?: Buffer;
  readonly encoding?: ContentEncoding;
  readonly commitment?: Buffer;
  readonly originatorHash?: Buffer;
  /** In place of ours. */
  readonly attributes?: Buffer;
  readonly ephemeralPoint?: Buffer;
  /** Turns the AuthEnvelopedData into another before it is signed. */
  readonly change?: (enveloped: Buffer) => Buffer;
}

/** What the device's own keys can make, honest or not. @returns an AuthEnvelopedData for the backend */
export function written(parts: Written): Buffer {
  const { octets = content, encoding = 'identity' } = parts;
  const [nonce, contentKey] = [randomBytes(12), randomBytes(32)];
  const attributes =
    parts.attributes ??
    derSetOf([
      contentTypeAttribute(oids.data),
      signingTimeAttribute(signingTimeMs),
      attribute(
        oids.envelopeInfo,
        writeEnvelopeInfo({
          topic: 'ms-acc-1/acc-1/dev-1/snapshots',
          sequence: 7,
          previousDigest: undefined,
          originatorHashes: [parts.originatorHash ?? device.recipient.certificate.sha256],
          contentType: 'octets',
          encoding,
          commitment: parts.commitment ?? commitTo(contentKey, nonce),
        }),
      ),
    ]);
  const { certificate } = backend.recipient;
  const sender = createMqvSender(agreementKey(device.recipient.certificate), device.recipient.key);
  const { ephemeralPoint, secrets } = sender.agree([agreementKey(certificate)], randomBytes);
  const [secret] = secrets;
  assert.ok(secret);
  const enveloped = assemble({
    flavour: 'rfc5753',
    originator: identifierOf(device.recipient.certificate, 'keyIdentifier'),
    ephemeralPoint: parts.ephemeralPoint ?? ephemeralPoint,
    readers: [{ certificate, secret, contentKey }],
    nonce,
    sealed: encrypt(contentKey, nonce, octets, attributes),
    attributes,
  });
  return parts.change?.(enveloped) ?? enveloped;
}

export function signedBy(enveloped: Buffer, count = 1): Buffer {
  const keys = [
    device.signatureKey,
    ...Array.from({ length: count - 1 }, (_, i) => makeIdentity(`s-${i}`).signatureKey),
  ];
  const signers = keys.map((key) => makeSignerInfo(enveloped, key, signingTimeMs));
  return writeContentInfo(
    oids.signedData,
    writeSignedData({ content: enveloped, certificates: [], signers }),
  );
}

/** What a call leaves behind and what it throws away, in octets, as far as no collection of garbage hides it. */
export function memoryOf(call: () => void): number {
  const before = memoryBytes();
  call();
  return memoryBytes() - before;
}

function memoryBytes(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}
