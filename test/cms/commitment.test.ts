import assert from 'node:assert/strict';
import { createSecretKey, hkdfSync } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { commitTo, isCommitted } from '../../cms/commitment.ts';

const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

test('commitTo: is HKDF-SHA-256 as OpenSSL computes it', () => {
  const key = fc.oneof(octets(16), octets(24), octets(32));
  fc.assert(
    fc.property(key, octets(12), (contentKey, nonce) => {
      const expected = hkdfSync('sha256', createSecretKey(contentKey), nonce, 'plombe key commitment 1', 32);
      assert.deepEqual(commitTo(contentKey, nonce), Buffer.from(expected));
    }),
  );
});

test('isCommitted: to the key and the nonce, whole', () => {
  const [key, nonce] = [Buffer.alloc(32, 1), Buffer.alloc(12, 2)];
  const commitment = commitTo(key, nonce);
  assert.equal(isCommitted(key, nonce, commitment), true);
  assert.equal(isCommitted(Buffer.alloc(32, 3), nonce, commitment), false);
  assert.equal(isCommitted(key, Buffer.alloc(12, 3), commitment), false);
  assert.equal(isCommitted(key, nonce, commitment.subarray(0, 31)), false);
});
