import assert from 'node:assert/strict';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { createDecryptor } from '../../backend/decryptor.ts';
import { readEnvelope, writeContentInfo } from '../../cms/envelope.ts';
import { oids } from '../../cms/oid.ts';
import { createOpener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import { addSignature } from '../../cms/sign.ts';
import { writeSignedData } from '../../cms/signed-data.ts';
import { makeSignerInfo } from '../../cms/signer-info.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import { contentKeyOf, withOtherContent } from '../cms/attacker.ts';
import { authority, contextOf, makeIdentity, signingTimeMs } from '../cms/identities.ts';
import { withoutSigners, withSignersOf } from '../cms/signers.ts';
import { freshLists } from '../pki/lists.ts';

const path = 'ms-acc-1/acc-1/dev-1';
const root = authority.certificate;

function bench(context: TestContext, releasing: 'ms-acc-1' | 'ms-acc-2', group?: string) {
  const [device, vendor, auditor] = [path, 'vendor-snapshot-service', 'ms-acc-1'].map((name) =>
    makeIdentity(name),
  ) as [ReturnType<typeof makeIdentity>, ReturnType<typeof makeIdentity>, ReturnType<typeof makeIdentity>];
  const releaser = releasing === 'ms-acc-1' ? auditor : makeIdentity(releasing);
  const { certificate } = releaser.signatureKey;
  const paths = [{ chain: [device.originator.keyAgreement], root }] as const;
  const originators = originatorsOf([{ ...device.originator, paths }]);
  const opener = createOpener({ recipient: vendor.recipient, originators, cosigners: [certificate] });
  const releasers = [{ certificate, chain: [certificate], root }] as const;
  const decrypt = createDecryptor([opener], freshLists(context, [root]).lists, releasers, group);
  const seal = (sequence: number): Buffer => {
    const readings = [{ channel: 'level', value: sequence }];
    const content = encodeSenmlCbor(parseDevicePath(path) ?? assert.fail(), {
      timeMs: signingTimeMs,
      deviceType: 'T',
      readings,
    });
    const recipients = [vendor.recipient.certificate, auditor.recipient.certificate];
    return createSealer(device.sealKeys).seal(content, recipients, contextOf({ sequence })).envelope;
  };
  const verdict = (payload: Buffer): string => {
    const opened = decrypt({ topic: contextOf().topic, payload, receivedMs: signingTimeMs });
    return opened.kind === 'opened' ? 'opened' : opened.reason;
  };
  return { device, vendor, auditor, seal, verdict };
}

test('releasers: what its auditor has released is taken, and nothing else of that owner', (context) => {
  const { auditor, seal, verdict } = bench(context, 'ms-acc-1');
  const envelope = seal(1);
  const released = addSignature(envelope, auditor.signatureKey, signingTimeMs);
  assert.equal(verdict(released), 'opened');
  assert.equal(verdict(envelope), 'not_released'); // the second signature is stripped
  const stranger = makeIdentity('ms-acc-1'); // the name is right, and the certificate is not the one that is configured
  assert.equal(verdict(addSignature(envelope, stranger.signatureKey, signingTimeMs)), 'not_released');
  const other = addSignature(seal(2), auditor.signatureKey, signingTimeMs);
  assert.equal(verdict(withSignersOf(envelope, other)), 'cms.rejected'); // of another envelope
  assert.equal(verdict(withoutSigners(released)), 'cms.rejected');
  const broken = Buffer.from(released);
  broken[broken.length - 5] = (broken[broken.length - 5] ?? 0) ^ 1; // a SET OF is in order, so whose this is depends
  assert.notEqual(verdict(broken), 'opened');
});

test('releasers: a customer who knows the content key, and releases, makes no message of its device for the vendor', (context) => {
  const { device, vendor, auditor, seal, verdict } = bench(context, 'ms-acc-1');
  const genuine = seal(1);
  const key = contentKeyOf(genuine, auditor.recipient, device.recipient.certificate);
  const { length } = readEnvelope(genuine).authEnveloped.sealed.ciphertext;
  const forged = withOtherContent(genuine, key, Buffer.alloc(length, 'x'));
  assert.equal(verdict(addSignature(forged, auditor.signatureKey, signingTimeMs)), 'cms.rejected');
  // With its own signature in the place of the device's.
  const { encoded } = readEnvelope(forged);
  const signers = [makeSignerInfo(encoded, auditor.signatureKey, signingTimeMs)];
  const own = writeContentInfo(
    oids.signedData,
    writeSignedData({ content: encoded, certificates: [], signers }),
  );
  assert.equal(verdict(own), 'cms.rejected');
  // Under the device's name, with keys that an authority of nobody has certified.
  const impostor = makeIdentity(path);
  const readers = [vendor, auditor].map(({ recipient }) => recipient.certificate);
  const made = createSealer(impostor.sealKeys).seal(
    Buffer.alloc(length, 'x'),
    readers,
    contextOf({ sequence: 2 }),
  ).envelope;
  assert.equal(verdict(addSignature(made, auditor.signatureKey, signingTimeMs)), 'unknown_originator');
});

test('decryptor: what belongs to another stream is not taken', (context) => {
  const { auditor, seal, verdict } = bench(context, 'ms-acc-1', 'insurer');
  assert.equal(verdict(addSignature(seal(1), auditor.signatureKey, signingTimeMs)), 'unexpected_topic');
});

test('releasers: whoever is not below one of them needs no release', (context) => {
  const { seal, verdict } = bench(context, 'ms-acc-2');
  assert.equal(verdict(seal(1)), 'opened');
});
