/** After an envelope is read, every failure looks the same, and no secret is to be seen anywhere. */
import assert from 'node:assert/strict';
import { createECDH, generateKeyPairSync } from 'node:crypto';
import test from 'node:test';
import { inspect as show } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { contentTypeAttribute, signingTimeAttribute } from '../../../cms/attributes.ts';
import { derSetOf } from '../../../cms/der-writer.ts';
import { scalarOf } from '../../../cms/ecdh.ts';
import { CmsError } from '../../../cms/errors.ts';
import { oids } from '../../../cms/oid.ts';
import { createSealer } from '../../../cms/seal.ts';
import { suiteOf } from '../../../cms/suite.ts';
import { contentBytesMax } from '../../../domain/limits.ts';
import type { Tlv } from '../../../fuzz/tlv.ts';
import { contentKeyOf } from '../attacker.ts';
import { contextOf, signingTimeMs } from '../identities.ts';
import {
  at,
  auditor,
  backend,
  childrenOf,
  content,
  device,
  edited,
  fill,
  messages,
  openerFor,
  signedBy,
  written,
} from './messages.ts';

const opener = openerFor();

function flipped({ octets }: Tlv, index: number): Buffer {
  const changed = Buffer.from(octets);
  changed.writeUInt8(changed.readUInt8(index) ^ 1, index);
  return changed;
}

/** The device signs an AuthEnvelopedData with one element changed. */
function resigned(path: readonly number[], change: (found: Tlv) => void): Buffer {
  return signedBy(written({ change: (enveloped) => edited(enveloped, (root) => change(at(root, ...path))) }));
}

/** Within AuthEnvelopedData: the one KeyAgreeRecipientInfo, and what is in it. */
const agreementPath = [1, 0];
const wrappedPath = [...agreementPath, 4, 0, 1];
const materialPath = [...agreementPath, 2, 0];
const pointPath = [...materialPath, 0, 0, 1];
const curvePath = [...materialPath, 0, 0, 0];

function withEphemeral(point: Uint8Array): Buffer {
  return resigned(pointPath, (found) => {
    fill(found, Buffer.concat([Buffer.of(0), point]));
  });
}

const other = createECDH('secp384r1');
const onOtherCurve = other.generateKeys();
const offCurve = Buffer.concat([Buffer.of(4), Buffer.alloc(64, 1)]);
const garbage = Buffer.from('ff'.repeat(40), 'hex');
const plainAttributes = derSetOf([contentTypeAttribute(oids.data), signingTimeAttribute(signingTimeMs)]);

/** Each as the device's own keys would have made it, so that nothing but what it is called is wrong. */
const failures: Readonly<Record<string, Buffer>> = {
  'a wrong signature': edited(signedBy(written({})), (root) => {
    const signature = at(root, 1, 0, -1, 0, -1);
    fill(signature, flipped(signature, signature.octets.length - 1));
  }),
  'a signature that is none': edited(signedBy(written({})), (root) => {
    fill(at(root, 1, 0, -1, 0, -1), garbage);
  }),
  'a wrong message digest': edited(signedBy(written({})), (root) => {
    const digest = childrenOf(at(root, 1, 0, -1, 0, 3))
      .map((found) => at(found, 1, 0))
      .find(({ tag }) => tag === 0x04);
    assert.ok(digest);
    fill(digest, flipped(digest, 0));
  }),
  'a signature by somebody else': edited(signedBy(written({})), (root) => {
    fill(at(root, 1, 0, -1, 0, 1), auditor.signatureKey.certificate.subjectKeyIdentifier ?? garbage);
  }),
  'a wrong tag': resigned([-1], (found) => fill(found, flipped(found, 0))),
  'a wrong ciphertext': resigned([2, 2], (found) => fill(found, flipped(found, 0))),
  'a wrong nonce': resigned([2, 1, 1, 0], (found) => fill(found, flipped(found, 0))),
  'a wrong commitment': signedBy(written({ commitment: Buffer.alloc(32, 1) })),
  'a wrong wrap': resigned(wrappedPath, (found) => fill(found, flipped(found, 0))),
  'a wrap that is too short': resigned(wrappedPath, (found) => fill(found, found.octets.subarray(8))),
  'a wrong originator hash': signedBy(written({ originatorHash: auditor.recipient.certificate.sha256 })),
  'an ephemeral key that is another': withEphemeral(createECDH('prime256v1').generateKeys()),
  'an ephemeral key off the curve': withEphemeral(offCurve),
  'a compressed ephemeral key off the curve': withEphemeral(
    Buffer.concat([Buffer.of(2), Buffer.alloc(32, 5)]),
  ),
  'an ephemeral key that is infinity': withEphemeral(Buffer.of(0)),
  'an ephemeral key of no octets': withEphemeral(Buffer.alloc(0)),
  'an ephemeral key of zeros': withEphemeral(Buffer.concat([Buffer.of(4), Buffer.alloc(64)])),
  'an ephemeral key that is not reduced': withEphemeral(
    Buffer.concat([Buffer.of(4), Buffer.alloc(64, 0xff)]),
  ),
  'an ephemeral key in hybrid form': resigned(pointPath, (found) => {
    const hybridForm = Buffer.from(found.octets);
    hybridForm.writeUInt8(6 | (hybridForm.readUInt8(hybridForm.length - 1) & 1), 1);
    fill(found, hybridForm);
  }),
  'an ephemeral key on another curve': withEphemeral(onOtherCurve),
  'an ephemeral key that says another curve': resigned(curvePath, (found) => {
    childrenOf(found).push({
      tag: 6,
      children: undefined,
      octets: suiteOf('P-384').curveOid,
      length: 'minimal',
    });
  }),
  'content that is not deflated': signedBy(written({ octets: garbage, encoding: 'deflate' })),
  'content that is cut': signedBy(
    written({ octets: deflateRawSync(content).subarray(0, -4), encoding: 'deflate' }),
  ),
  'content that inflates beyond the bound': signedBy(
    written({ octets: deflateRawSync(Buffer.alloc(contentBytesMax + 1)), encoding: 'deflate' }),
  ),
  'no attribute of ours': signedBy(written({ attributes: plainAttributes })),
};

function errorOf(envelope: Buffer): CmsError {
  try {
    opener.open(envelope);
  } catch (error) {
    if (error instanceof CmsError) return error;
    throw error;
  }
  throw new Error('it opened');
}

/** All that a caller can see, but for where in our code it was thrown. */
function shapeOf(error: CmsError) {
  const { stack = '', ...own } = Object.fromEntries(
    Object.getOwnPropertyNames(error).map((name) => [name, Reflect.get(error, name) as unknown]),
  );
  const [headline] = String(stack).split('\n    at ');
  return {
    ...own,
    headline,
    text: String(error),
    json: JSON.stringify(error),
    prototype: error.constructor.name,
  };
}

test('open: what these messages are made from opens', () => {
  assert.deepEqual(opener.open(signedBy(written({}))).content, content);
  assert.deepEqual(
    opener.open(signedBy(written({ octets: deflateRawSync(content), encoding: 'deflate' }))).content,
    content,
  );
  assert.deepEqual(opener.open(resigned(wrappedPath, () => undefined)).content, content);
});

const expected = shapeOf(errorOf(Object.values(failures)[0] ?? Buffer.alloc(0)));
for (const [what, envelope] of Object.entries(failures)) {
  test(`open: ${what} is refused like every other failure`, () => {
    assert.deepEqual(shapeOf(errorOf(envelope)), expected);
  });
}

test('open: the one refusal has a code, a sentence, and no cause that would tell', () => {
  assert.deepEqual(expected, {
    headline: 'CmsError: cannot open the envelope: an integrity check failed',
    code: 'cms.rejected',
    name: 'CmsError',
    message: 'cannot open the envelope: an integrity check failed',
    text: 'CmsError: cannot open the envelope: an integrity check failed',
    json: '{"code":"cms.rejected","name":"CmsError"}',
    prototype: 'CmsError',
  });
});

test('sealer, opener, results and errors show no octet of a secret', () => {
  const sealer = createSealer(device.sealKeys);
  const sealed = sealer.seal(content, [backend.recipient.certificate], contextOf());
  const own = openerFor();
  const opened = own.open(sealed.envelope);
  const errors = [...Object.values(failures), ...Object.values(messages)].flatMap((envelope) => {
    try {
      openerFor(auditor).open(envelope);
      return [];
    } catch (error) {
      return [error];
    }
  });
  assert.ok(errors.length > 10);
  const suite = suiteOf('P-256');
  const secrets = [
    ...[device, backend, auditor].flatMap(({ recipient, signatureKey }) => [
      scalarOf(suite, recipient.key),
      scalarOf(suite, signatureKey.key),
    ]),
    contentKeyOf(sealed.envelope, backend.recipient, device.recipient.certificate),
  ];
  const { content: _, ...result } = opened;
  const shown = [sealer, own, result, backend.recipient, device.sealKeys, ...errors].flatMap((value) => [
    show(value, { depth: 12, showHidden: true, maxArrayLength: null, maxStringLength: null }),
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner)),
  ]);
  const forms = (secret: Buffer) => [
    secret.toString('hex'),
    secret.toString('base64').replace(/=*$/, ''),
    secret.toString('base64url'),
    [...secret].join(','),
    [...secret].join(', '),
    show(secret).slice(8, -1),
    BigInt(`0x${secret.toString('hex')}`).toString(),
  ];
  for (const text of shown) {
    for (const form of secrets.flatMap(forms)) assert.ok(!text.includes(form));
  }
});

test('the search for secrets finds one that is there', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const scalar = scalarOf(suiteOf('P-256'), privateKey);
  assert.ok(show({ scalar }).includes(show(scalar).slice(8, -1)));
  assert.ok(!show({ privateKey }, { showHidden: true, depth: 9 }).includes(show(scalar).slice(8, -1)));
});
