/** Small messages that ask for much: told lengths, nesting, numbers of elements, and content that inflates. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { CmsError } from '../../../cms/errors.ts';
import { inspect } from '../../../cms/inspect.ts';
import { fileEnvelopeBytesMax } from '../../../cms/limits.ts';
import { openAnonymous } from '../../../cms/open-anonymous.ts';
import { addSignature } from '../../../cms/sign.ts';
import { contentBytesMax, envelopeBytesMax } from '../../../domain/limits.ts';
import { copyOf, element, placesOf, readForest, writeForest } from '../../../fuzz/tlv.ts';
import type { LengthForm, Tlv } from '../../../fuzz/tlv.ts';
import { DerFault, DerReader } from '../../../pki/der.ts';
import { signingTimeMs } from '../identities.ts';
import {
  at,
  auditor,
  backend,
  bare,
  edited,
  fill,
  memoryOf,
  messages,
  openerFor,
  signedBy,
  written,
} from './messages.ts';

/** Issue "Bad input". */
const memoryMax = 16 * 1024 * 1024;
const bound = { envelopeBytesMax: fileEnvelopeBytesMax };
const opener = openerFor(backend, { ...bound, policy: { allowUnsigned: true } });

/** Whatever reads an envelope refuses these octets, in little memory. */
function requireRefused(octets: Buffer, label: string): void {
  for (const refusal of refusalsOf(octets, label)) assert.ok(refusal, label);
}

/** Each either reads them or refuses them with a code, in little memory. @returns the codes; undefined for who reads them */
function refusalsOf(octets: Buffer, label: string): readonly (string | undefined)[] {
  return [
    () => void opener.open(octets),
    () => void inspect(octets, bound),
    () => void openAnonymous(octets, backend.recipient, bound),
    () => void addSignature(octets, auditor.signatureKey, signingTimeMs, bound),
  ].map((read) => {
    let code: string | undefined;
    const bytes = memoryOf(() => {
      try {
        read();
      } catch (error) {
        if (!(error instanceof CmsError)) throw error;
        code = error.code;
      }
    });
    assert.ok(bytes < memoryMax, `${label}: ${bytes} octets`);
    return code;
  });
}

test('a told length allocates nothing, wherever it stands and however large it is', () => {
  const lengths = [
    2n ** 31n - 1n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n,
    2n ** 63n,
    2n ** 64n - 1n,
    2n ** 64n,
    2n ** 1000n,
  ];
  let tries = 0;
  for (const message of [bare, messages['signed'] ?? bare]) {
    const count = placesOf(readForest(message) ?? []).length;
    for (let index = 0; index < count; index++) {
      for (const claimed of lengths) {
        const forest = readForest(message) ?? [];
        const place = placesOf(forest)[index];
        assert.ok(place);
        place.node.length = { claimed };
        const octets = writeForest(forest);
        const bytes = memoryOf(() => {
          assert.throws(() => opener.open(octets), CmsError, `element ${index}, ${claimed}`);
        });
        assert.ok(bytes < memoryMax, `element ${index}, ${claimed}: ${bytes} octets`);
        tries++;
      }
    }
  }
  assert.ok(tries > 500);
});

test('a told length allocates nothing in thousands of tries', () => {
  const claims = Buffer.from('3084ffffffff', 'hex');
  const kept = memoryOf(() => {
    for (let round = 0; round < 20_000; round++) {
      assert.throws(() => new DerReader(claims).next(), DerFault);
      assert.throws(() => opener.open(claims), CmsError);
    }
  });
  // What was told comes to 86 TB.
  assert.ok(kept < 256 * 1024 * 1024, `${kept} octets`);
});

/** @param count - how many elements, one in the other */
function nested(tag: number, count: number, length: LengthForm): Buffer {
  if (length === 'indefinite') {
    return Buffer.concat([
      Buffer.from(`${tag.toString(16)}80`.repeat(count), 'hex'),
      Buffer.alloc(2 * count),
    ]);
  }
  // From the inside out, into a buffer from its end.
  const octets = Buffer.alloc(6 * count);
  let start = octets.length;
  for (let left = count; left > 0; left--) {
    const inside = octets.length - start;
    const header = new DerHeader(tag, inside).octets;
    start -= header.length;
    octets.set(header, start);
  }
  return octets.subarray(start);
}

class DerHeader {
  readonly octets: Buffer;

  constructor(tag: number, length: number) {
    const hex = length.toString(16);
    const digits = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
    this.octets =
      length < 0x80 ? Buffer.of(tag, length) : Buffer.concat([Buffer.of(tag, 0x80 | digits.length), digits]);
  }
}

test('a hundred thousand tags in one another are refused, alone and in every place', () => {
  for (const tag of [0x30, 0x24, 0xa0, 0x31]) {
    for (const length of ['minimal', 'indefinite'] as const) {
      requireRefused(nested(tag, 100_000, length), `${tag}, ${length}`);
      requireRefused(nested(tag, 100_000, length).subarray(0, 200_000), `${tag}, ${length}, not closed`);
    }
  }
  const places = placesOf(readForest(bare) ?? []).length;
  for (let index = 0; index < places; index++) {
    for (const length of ['minimal', 'indefinite'] as const) {
      const forest = readForest(bare) ?? [];
      const place = placesOf(forest)[index];
      assert.ok(place);
      const deep = nested(place.node.tag | 0x20, 20_000, length);
      // As an element of its own it is written as it is: nothing is told about it.
      const raw: Tlv = { tag: deep.readUInt8(0), children: undefined, octets: deep, length: 'minimal' };
      place.siblings[place.index] = raw;
      // Who only looks at it may not care what is in an algorithm.
      const [opening] = refusalsOf(writeForest(forest), `element ${index}, ${length}`);
      assert.ok(opening, `element ${index}, ${length}`);
    }
  }
});

test('a million empty segments are refused, of either kind', () => {
  for (const segment of ['0400', '2400', '24800000']) {
    const octets = Buffer.concat([
      Buffer.from('a080', 'hex'),
      Buffer.from(segment.repeat(1_000_000), 'hex'),
      Buffer.alloc(2),
    ]);
    const message = edited(bare, (root) => {
      const found = at(root, 1, 0, 2, 2);
      Object.assign(found, {
        tag: 0xa0,
        children: undefined,
        octets: octets.subarray(2, -2),
        length: 'indefinite',
      });
    });
    assert.ok(message.length > 2_000_000 && message.length < fileEnvelopeBytesMax);
    requireRefused(message, segment);
  }
});

test('sets and sequences of tens of thousands are refused', () => {
  for (const path of [
    [1, 0, 1],
    [1, 0, 1, 0, 4],
    [1, 0, 3],
    [1, 0, 3, 0, 1],
  ]) {
    const message = edited(bare, (root) => {
      const found = at(root, ...path);
      const [first = element(0x05, Buffer.alloc(0))] = found.children ?? [];
      found.children = Array.from({ length: 20_000 }, () => copyOf(first));
    });
    requireRefused(message.subarray(0, fileEnvelopeBytesMax), path.join());
    const empty = edited(bare, (root) => fill(at(root, ...path), Buffer.from('3000'.repeat(100_000), 'hex')));
    requireRefused(empty, `${path.join()}, empty`);
  }
});

test('integers of 200,000 octets are refused', () => {
  const places = placesOf(readForest(bare) ?? []).filter(({ node }) => node.tag === 0x02);
  assert.ok(places.length >= 6);
  for (const index of places.keys()) {
    for (const octet of [0, 1, 0x80, 0xff]) {
      const forest = readForest(bare) ?? [];
      const place = placesOf(forest).filter(({ node }) => node.tag === 0x02)[index];
      assert.ok(place);
      fill(place.node, Buffer.alloc(200_000, octet));
      requireRefused(writeForest(forest), `integer ${index}, ${octet}`);
    }
  }
});

test('content that inflates to 128 MiB is refused, and no more of it is inflated than is allowed', () => {
  const bomb = deflateRawSync(Buffer.alloc(32 * contentBytesMax), { level: 9 });
  const envelope = signedBy(written({ octets: bomb, encoding: 'deflate' }));
  assert.ok(envelope.length < envelopeBytesMax);
  const bytes = memoryOf(() => assert.throws(() => opener.open(envelope), { code: 'cms.rejected' }));
  // At most what is allowed, once in pieces and once put together, and the message itself.
  assert.ok(bytes < 2 * contentBytesMax + 3 * envelope.length + 1024 * 1024, `${bytes} octets`);
});
