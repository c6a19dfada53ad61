import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { readLines } from '../../../device-agent/collector/lines.ts';
import { gathered, inPieces } from './files.ts';

async function linesOf(text: string, pieceLength: number, lengthMax?: number) {
  return (await gathered(readLines(inPieces(text, pieceLength), lengthMax))).flat();
}

test('readLines: numbers lines from 1, takes LF and CRLF, and a last line without an end', async () => {
  assert.deepEqual(await linesOf('a\r\n\nb', 100), [
    { number: 1, text: 'a' },
    { number: 2, text: '' },
    { number: 3, text: 'b' },
  ]);
});

test('readLines: how the text is cut into pieces makes no difference', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '\n', '\r\n'), maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(text, fc.integer({ min: 1, max: 9 }), async (whole, pieceLength) => {
      assert.deepEqual(await linesOf(whole, pieceLength, 8), await linesOf(whole, 1000, 8));
    }),
  );
});

test('readLines: a line that is too long is a fault of its own number, and the next is read', async () => {
  for (const pieceLength of [1, 3, 1000]) {
    assert.deepEqual(await linesOf('ok\n123456789\nok\n', pieceLength, 8), [
      { number: 1, text: 'ok' },
      { number: 2, text: undefined, fault: 'line-too-long' },
      { number: 3, text: 'ok' },
    ]);
  }
});
