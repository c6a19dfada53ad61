/** Project Wycheproof's vectors, for the primitives as we call them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { agree, decodePoint, encodePoint, privateKeyOf, publicKeyOf, writeScalar } from '../../cms/ecdh.ts';
import { decrypt, encrypt } from '../../cms/gcm.ts';
import { unwrapKey, wrapKey } from '../../cms/key-wrap.ts';
import { suiteOf } from '../../cms/suite.ts';
import type { CurveName } from '../../pki/certificate.ts';
import { dataFolder } from './fixtures.ts';

interface Case {
  readonly tcId: number;
  readonly result: 'valid' | 'invalid' | 'acceptable';
  readonly [field: string]: string | number | readonly string[];
}
interface Group {
  readonly ivSize?: number;
  readonly tagSize?: number;
  readonly tests: readonly Case[];
}

function groupsOf(file: string): readonly Group[] {
  const text = readFileSync(path.join(dataFolder, 'wycheproof', file), 'utf8');
  return (JSON.parse(text) as { testGroups: readonly Group[] }).testGroups;
}

function octets(value: Case[string] | undefined): Buffer {
  assert.ok(typeof value === 'string');
  return Buffer.from(value, 'hex');
}

test('wrapKey, unwrapKey: Wycheproof', () => {
  const cases = groupsOf('aes_wrap_test.json').flatMap(({ tests }) => tests);
  for (const vector of cases) {
    const [key, message, wrapped] = [octets(vector['key']), octets(vector['msg']), octets(vector['ct'])];
    const unwrapped = unwrapKey(key, wrapped, message.length);
    if (vector.result === 'valid') {
      assert.deepEqual(wrapKey(key, message), wrapped, `case ${vector.tcId}`);
      assert.deepEqual(unwrapped, message, `case ${vector.tcId}`);
    } else if (vector.result === 'invalid') {
      assert.equal(unwrapped, undefined, `case ${vector.tcId}`);
    }
  }
  assert.ok(cases.length > 100);
});

test('encrypt, decrypt: Wycheproof, with our sizes of nonce and tag', () => {
  const groups = groupsOf('aes_gcm_test.json').filter(
    (group) => group.ivSize === 96 && group.tagSize === 128,
  );
  const cases = groups.flatMap(({ tests }) => tests);
  for (const vector of cases) {
    const [key, nonce, associated] = [octets(vector['key']), octets(vector['iv']), octets(vector['aad'])];
    const sealed = { ciphertext: octets(vector['ct']), tag: octets(vector['tag']) };
    const opened = decrypt(key, nonce, sealed, associated);
    if (vector.result === 'valid') {
      assert.deepEqual(opened, octets(vector['msg']), `case ${vector.tcId}`);
      assert.deepEqual(encrypt(key, nonce, octets(vector['msg']), associated), sealed, `case ${vector.tcId}`);
    } else {
      assert.equal(opened, undefined, `case ${vector.tcId}`);
    }
  }
  assert.ok(cases.length > 100);
});

const pointFiles: readonly (readonly [CurveName, string])[] = [
  ['P-256', 'ecdh_secp256r1_ecpoint_test.json'],
  ['P-384', 'ecdh_secp384r1_ecpoint_test.json'],
  ['P-521', 'ecdh_secp521r1_ecpoint_test.json'],
];
for (const [curve, file] of pointFiles) {
  test(`decodePoint, agree: Wycheproof, ${curve}`, () => {
    const suite = suiteOf(curve);
    const cases = groupsOf(file).flatMap(({ tests }) => tests);
    // Hundreds are edge cases of OpenSSL's own doubling; of those, a tenth.
    const chosen = cases.filter(
      ({ flags, tcId }) => tcId % 10 === 0 || !(flags as string[]).includes('EdgeCaseDoubling'),
    );
    let agreed = 0;
    for (const vector of chosen) {
      const exchange = () => {
        const point = encodePoint(suite, decodePoint(suite, octets(vector['public'])));
        const scalar = writeScalar(suite, BigInt(`0x${String(vector['private'])}`));
        return agree(privateKeyOf(suite, scalar), publicKeyOf(suite, point));
      };
      if (vector.result === 'invalid') {
        assert.throws(exchange, { code: 'cms.rejected' }, `case ${vector.tcId}`);
      } else {
        assert.deepEqual(exchange(), octets(vector['shared']), `case ${vector.tcId}`);
        agreed++;
      }
    }
    assert.ok(agreed > 20);
  });
}
