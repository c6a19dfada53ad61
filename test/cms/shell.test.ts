import assert from 'node:assert/strict';
import test from 'node:test';
import { DerFault } from '../../pki/der.ts';
import { ShellReader } from '../../cms/shell.ts';

function readerOf(hex: string): ShellReader {
  return new ShellReader(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
}

/** Reads a SEQUENCE of one OCTET STRING. */
function readOne(hex: string): string {
  const shell = readerOf(hex);
  shell.enter(0x30, 'outer');
  const octets = shell.octets(0x04, 'octets');
  shell.leave('outer');
  shell.end('all');
  return octets.toString('hex');
}

test('ShellReader: definite and indefinite lengths hold the same', () => {
  assert.equal(readOne('30 04 0402 abcd'), 'abcd');
  assert.equal(readOne('30 80 0402 abcd 0000'), 'abcd');
  assert.equal(readOne('30 80 2480 0401 ab 0401 cd 0000 0000'), 'abcd');
  assert.equal(readOne('30 80 2480 2480 0401 ab 0000 0400 0401 cd 0000 0000'), 'abcd');
  assert.equal(readOne('30 08 2406 0401 ab 0401 cd'), 'abcd');
  assert.equal(readOne('30 80 2480 0000 0000'), '');
});

test('ShellReader: refuses what is neither DER nor that much of BER', () => {
  for (const [why, hex] of [
    ['no end of contents', '3080 0402abcd'],
    ['half an end of contents', '3080 0402abcd 00'],
    ['more inside', '3006 0402abcd 0500'],
    ['more inside, indefinite', '3080 0402abcd 0500 0000'],
    ['more behind', '3004 0402abcd 00'],
    ['a length that is not minimal', '308104 0402abcd'],
    ['a length beyond the bytes', '3005 0402abcd'],
    ['a child beyond its parent', '3004 0403abcd ef'],
    ['a child beyond its indefinite parent', '3080 0404abcd 0000 00'],
    ['an indefinite primitive', '3080 0480 0000 0000'],
    ['segments three deep', '3080 2480 2480 2480 0000 0000 0000 0000'],
    ['a segment that is no OCTET STRING', '3080 2480 0201ab 0000 0000'],
    ['a high tag', '3080 1f0102 0000'],
    ['nothing', ''],
    ['a length of 127 octets', `30ff${'00'.repeat(127)}`],
  ] as const) {
    assert.throws(() => readOne(hex), DerFault, why);
  }
});

test('ShellReader: the number of segments is bounded', () => {
  assert.equal(readOne(`3080 2480 ${'0400'.repeat(8192)} 0000 0000`), '');
  assert.throws(() => readOne(`3080 2480 ${'0400'.repeat(8193)} 0000 0000`), DerFault);
});

test('ShellReader: an end of contents ends only what has no length', () => {
  const shell = readerOf('3002 0000');
  shell.enter(0x30, 'outer');
  assert.equal(shell.nextTag, 0);
  assert.throws(() => shell.leave('outer'), DerFault);
});

test('ShellReader: wrong use is told from wrong bytes', () => {
  assert.throws(() => readerOf('').leave('nothing'), RangeError);
  const shell = readerOf('3000');
  shell.enter(0x30, 'outer');
  assert.throws(() => shell.end('outer'), RangeError);
});
