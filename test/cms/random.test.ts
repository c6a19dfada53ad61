import assert from 'node:assert/strict';
import test from 'node:test';
import { pooledRandom } from '../../cms/random.ts';

test('pooledRandom: gives every octet once, also across refills, and larger draws than a pool', () => {
  const random = pooledRandom();
  const seen = new Set<string>();
  for (let draw = 0; draw < 1000; draw++) {
    const octets = random(draw % 2 === 0 ? 32 : 44);
    assert.equal(octets.length, draw % 2 === 0 ? 32 : 44);
    const text = octets.toString('hex', 0, 32);
    assert.ok(!seen.has(text), 'drawn before');
    seen.add(text);
    octets.fill(0); // as the caller of a secret does: it must not reach what is still to come
  }
  assert.equal(random(10_000).length, 10_000);
  assert.notDeepEqual(pooledRandom()(32), pooledRandom()(32));
});
