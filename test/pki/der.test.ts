import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  DerFault,
  DerReader,
  derTag,
  readBitString,
  readBoolean,
  readNaturalOctets,
  readObjectIdentifier,
  readOnly,
  readSmallInteger,
  readTime,
} from '../../pki/der.ts';
import {
  derBitString,
  derElement,
  derInteger,
  derIntegerOctets,
  derObjectIdentifier,
  derSequence,
  derTime,
  derTrue,
  derUtf8String,
} from '../../pki/der-writer.ts';

function bytes(hex: string): Buffer {
  return Buffer.from(hex, 'hex');
}

function element(hex: string) {
  return new DerReader(bytes(hex)).next();
}

test('derElement: a length takes the fewest octets, and DerReader reads it back', () => {
  for (const [length, header] of [
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [65_536, '0483010000'],
  ] as const) {
    const der = derElement(derTag.octetString, Buffer.alloc(length));
    assert.equal(der.subarray(0, der.length - length).toString('hex'), header);
    assert.equal(readOnly(der, derTag.octetString, 'test').content.length, length);
  }
});

test('DerReader: any nesting of elements is read back', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), (contents) => {
      const list = contents.map((content) => derElement(derTag.octetString, content));
      const reader = new DerReader(readOnly(derSequence(...list), derTag.sequence, 'list').content);
      for (const [index, content] of contents.entries()) {
        const found = reader.take(derTag.octetString, 'member');
        assert.deepEqual(found.content, Buffer.from(content));
        assert.deepEqual(found.der, list[index]);
      }
      assert.equal(reader.done, true);
    }),
  );
});

test('DerReader: BER that is not DER, truncation and trailing bytes are faults', () => {
  for (const [fault, hex] of [
    ['nothing', ''],
    ['no length', '30'],
    ['truncated content', '300201'],
    ['indefinite length', '30800000'],
    ['long form for a short length', '308101ff'],
    ['leading zero in a length', '30820001ff'],
    ['two octets for a length of one', `308200ff${'00'.repeat(255)}`],
    ['truncated length', '308201'],
    ['length of five octets', '30850000000001ff'],
    ['reserved length', '30ff'],
    ['length beyond the end', '30847fffffff'],
    ['high tag number', '1f1f00'],
  ] as const) {
    assert.throws(() => new DerReader(bytes(hex)).next(), DerFault, fault);
  }
  assert.throws(() => readOnly(bytes('300000'), derTag.sequence, 'x'), /x: trailing bytes/);
  assert.throws(() => readOnly(bytes('3100'), derTag.sequence, 'x'), /x: expected tag 0x30, found 0x31/);
  assert.throws(() => readOnly(bytes(''), derTag.sequence, 'x'), /found the end/);
  assert.equal(new DerReader(bytes('3000')).takeOptional(derTag.set), undefined);
});

test('readSmallInteger: what derInteger wrote; negative, padded, empty and large integers are faults', () => {
  fc.assert(
    fc.property(fc.nat(), (value) => {
      assert.equal(readSmallInteger(new DerReader(derInteger(value)).next(), 'n'), value);
    }),
  );
  for (const hex of ['0200', '0201ff', '02020001', '02020000', '02050100000000']) {
    assert.throws(() => readSmallInteger(element(hex), 'n'), DerFault, hex);
  }
  assert.deepEqual(readNaturalOctets(element('020200ff'), 'n'), bytes('00ff'));
  assert.equal(derIntegerOctets(bytes('000001')).toString('hex'), '020101');
  assert.equal(derIntegerOctets(bytes('0000ff')).toString('hex'), '020200ff');
  assert.equal(derIntegerOctets(bytes('0000')).toString('hex'), '020100');
});

test('readBoolean: TRUE is all ones', () => {
  assert.equal(readBoolean(new DerReader(derTrue()).next(), 'b'), true);
  assert.equal(readBoolean(element('010100'), 'b'), false);
  for (const hex of ['010101', '0100', '0102ffff'])
    assert.throws(() => readBoolean(element(hex), 'b'), DerFault);
});

test('readBitString: unused bits are zero', () => {
  assert.deepEqual(readBitString(new DerReader(derBitString(bytes('a0'), 5)).next(), 's'), {
    octets: bytes('a0'),
    unusedBits: 5,
  });
  assert.deepEqual(readBitString(element('030100'), 's'), { octets: Buffer.alloc(0), unusedBits: 0 });
  for (const hex of ['0300', '030101', '030208ff', '030205a1'])
    assert.throws(() => readBitString(element(hex), 's'), DerFault, hex);
});

test('readObjectIdentifier: what derObjectIdentifier wrote; padded, cut and huge arcs are faults', () => {
  const arc = fc.oneof(fc.nat(), fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }));
  fc.assert(
    fc.property(fc.nat(2), fc.nat(39), fc.array(arc, { maxLength: 8 }), (first, second, rest) => {
      const oid = [first, second, ...rest].join('.');
      assert.equal(readObjectIdentifier(new DerReader(derObjectIdentifier(oid)).next(), 'o'), oid);
    }),
  );
  assert.equal(readObjectIdentifier(element('0603883703'), 'o'), '2.999.3');
  for (const hex of [
    '0600',
    '060180',
    '06028001',
    '060255ff',
    `06152a${'ff'.repeat(19)}7f`,
    `060a${'ff'.repeat(9)}7f`,
  ]) {
    assert.throws(() => readObjectIdentifier(element(hex), 'o'), DerFault, hex);
  }
});

test('readTime: what derTime wrote, on both sides of 2050', () => {
  fc.assert(
    fc.property(fc.integer({ min: -631_152_000, max: 253_402_300_799 }), (seconds) => {
      const der = derTime(seconds * 1000);
      assert.equal(readTime(new DerReader(der).next(), 't'), seconds * 1000);
    }),
  );
  assert.equal(
    derTime(Date.UTC(2049, 11, 31, 23, 59, 59))
      .subarray(2)
      .toString(),
    '491231235959Z',
  );
  assert.equal(
    derTime(Date.UTC(2050, 0, 1))
      .subarray(2)
      .toString(),
    '20500101000000Z',
  );
});

test('readTime: no such date, no seconds, fractions, zones and other types are faults', () => {
  for (const [tag, text] of [
    [0x17, '260230000000Z'],
    [0x17, '261301000000Z'],
    [0x17, '260101240000Z'],
    [0x17, '260101006000Z'],
    [0x17, '260101000060Z'],
    [0x17, '2601010000Z'],
    [0x17, '260101000000+0000'],
    [0x17, '20260101000000Z'],
    [0x18, '260101000000Z'],
    [0x18, '20260101000000.5Z'],
    [0x18, '20260229000000Z'],
    [0x18, '20260101000000'],
    [0x04, '260101000000Z'],
  ] as const) {
    const { der } = new DerReader(derElement(tag, Buffer.from(text))).next();
    assert.throws(() => readTime(new DerReader(der).next(), 't'), DerFault, text);
  }
});

test('derUtf8String: is the text in UTF-8', () => {
  assert.equal(derUtf8String('é').toString('hex'), '0c02c3a9');
});
