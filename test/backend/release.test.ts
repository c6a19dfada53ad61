import assert from 'node:assert/strict';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { createDecryptor } from '../../backend/decryptor.ts';
import { createOpener } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import { addSignature } from '../../cms/sign.ts';
import { parseDevicePath } from '../../domain/namespace.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import { authority, contextOf, makeIdentity, signingTimeMs } from '../cms/identities.ts';
import { withoutSigners, withSignersOf } from '../cms/signers.ts';
import { freshLists } from '../pki/lists.ts';

const path = 'ms-acc-1/acc-1/dev-1';
const root = authority.certificate;

function bench(context: TestContext, releasing: 'ms-acc-1' | 'ms-acc-2') {
  const [device, vendor, auditor] = [path, 'vendor-snapshot-service', 'ms-acc-1'].map((name) =>
    makeIdentity(name),
  ) as [ReturnType<typeof makeIdentity>, ReturnType<typeof makeIdentity>, ReturnType<typeof makeIdentity>];
  const releaser = releasing === 'ms-acc-1' ? auditor : makeIdentity(releasing);
  const { certificate } = releaser.signatureKey;
  const paths = [{ chain: [device.originator.keyAgreement], root }] as const;
  const originators = originatorsOf([{ ...device.originator, paths }]);
  const opener = createOpener({ recipient: vendor.recipient, originators, cosigners: [certificate] });
  const releasers = [{ certificate, chain: [certificate], root }] as const;
  const decrypt = createDecryptor([opener], freshLists(context, [root]).lists, releasers);
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
  return { auditor, seal, verdict };
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

test('releasers: whoever is not below one of them needs no release', (context) => {
  const { seal, verdict } = bench(context, 'ms-acc-2');
  assert.equal(verdict(seal(1)), 'opened');
});
