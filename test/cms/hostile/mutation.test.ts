/** Whatever is done to a valid message: refused with a code, or open to the exact content. */
import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { CmsError } from '../../../cms/errors.ts';
import { inspect } from '../../../cms/inspect.ts';
import type { OpenedEnvelope } from '../../../cms/open.ts';
import { addSignature } from '../../../cms/sign.ts';
import { Generator } from '../../../fuzz/generator.ts';
import { mutated } from '../../../fuzz/mutate.ts';
import { copyOf, placesOf, readForest, writeForest } from '../../../fuzz/tlv.ts';
import { auditor, chainOpener, laxOpener, messages } from './messages.ts';
import { signingTimeMs } from '../identities.ts';

const donors = Object.values(messages);
// Deterministic: a failure is the same one the next time.
const seed = 5083;

for (const [kind, message] of Object.entries(messages)) {
  const opener = kind.includes('chain') ? chainOpener : laxOpener;
  const genuine = believedOf(opener.open(message));

  function requireHarmless(octets: Buffer, label: string): void {
    for (const attempt of [
      () => assert.deepEqual(believedOf(opener.open(octets)), genuine, label),
      () => void inspect(octets),
      () => void addSignature(octets, auditor.signatureKey, signingTimeMs),
    ]) {
      try {
        attempt();
      } catch (error) {
        if (!(error instanceof CmsError))
          throw new Error(`${label}: ${octets.toString('hex')}`, { cause: error });
      }
    }
  }

  test(`open, inspect, addSignature: a message ${kind}, any bits flipped`, () => {
    fc.assert(
      fc.property(fc.array(fc.nat(message.length * 8 - 1), { minLength: 1, maxLength: 3 }), (bits) => {
        const changed = Buffer.from(message);
        for (const bit of bits) changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        requireHarmless(changed, `bits ${bits.join()}`);
      }),
      { numRuns: 300, seed },
    );
  });

  test(`open, inspect, addSignature: a message ${kind}, cut anywhere or with more behind it`, () => {
    for (let length = 0; length < message.length; length += length < 64 ? 1 : 7) {
      assert.throws(() => opener.open(message.subarray(0, length)), { code: 'cms.malformed' });
      assert.throws(() => inspect(message.subarray(0, length)), { code: 'cms.malformed' });
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), (more) => {
        assert.throws(() => opener.open(Buffer.concat([message, more])), { code: 'cms.malformed' });
      }),
      { numRuns: 50, seed },
    );
  });

  test(`open, inspect, addSignature: a message ${kind}, each element left out, twice, or before its neighbour`, () => {
    const places = placesOf(readForest(message) ?? []);
    assert.ok(places.length > 30);
    for (const [index, { node }] of places.entries()) {
      for (const change of ['left out', 'twice', 'exchanged'] as const) {
        const forest = readForest(message) ?? [];
        const place = placesOf(forest)[index];
        assert.ok(place);
        const next = place.siblings[place.index + 1];
        if (change === 'left out') place.siblings.splice(place.index, 1);
        else if (change === 'twice') place.siblings.splice(place.index, 0, copyOf(place.node));
        else if (next !== undefined) place.siblings.splice(place.index, 2, next, place.node);
        requireHarmless(writeForest(forest), `element ${index}, tag ${node.tag}, ${change}`);
      }
    }
  });

  test(`open, inspect, addSignature: a message ${kind}, bent and spliced at random`, () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), (start) => {
        requireHarmless(mutated(message, donors, new Generator(start)), `generator ${start}`);
      }),
      { numRuns: 300, seed, endOnFailure: true },
    );
  });
}

/** Not the recipients: whoever carries a bare envelope may change who else is said to read it. */
function believedOf({ content, originator, ...rest }: OpenedEnvelope) {
  const { topic, sequence, contentType, previousDigest, signingTimeMs: atMs } = rest;
  return {
    content: content.toString('hex'),
    originator: originator.keyAgreement.sha256.toString('hex'),
    topic,
    sequence,
    contentType,
    previousDigest,
    atMs,
  };
}
