import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { curveNames } from '../../../pki/certificate.ts';
import { compileCurve } from '../../../scripts/wasm/compile.ts';

const folder = path.resolve(import.meta.dirname, '../../../cms/wasm');

for (const curve of curveNames) {
  test(`${curve}.wasm: is what its source compiles to`, async () => {
    const { binary } = await compileCurve(curve);
    assert.ok(
      readFileSync(path.join(folder, `${curve}.wasm`)).equals(binary),
      'cms/wasm/ differs from its source: npm run build:wasm',
    );
  });
}

// What is computed with secrets all the time. `recode` and `scan` have loops, whose counts are no secret.
const straight = [
  'curve/multiply',
  'curve/square',
  'curve/multiplyScalars',
  'curve/canonical',
  'curve/canonicalScalar',
  'points/double',
  'points/addAffine',
];

for (const curve of curveNames) {
  test(`${curve}.wasm: formulas and field arithmetic have no branch, no choice and no division`, async () => {
    const { text } = await compileCurve(curve);
    for (const name of straight) {
      const body = functionBody(text, name);
      assert.ok(body.length > 0, `there is no ${name}`);
      assert.doesNotMatch(body, /\((if|br|br_if|br_table|loop|block|select)\b|\.(div|rem)_/, name);
      for (const [, callee] of body.matchAll(/\(call \$([^\s)]+)/g)) {
        assert.match(callee ?? '', /^curve\//, `${name} calls`);
      }
    }
    assert.doesNotMatch(functionBody(text, 'combs/scan'), /\((if|select|br_table)\b/, 'scan');
  });
}

/** A function of the text format, from its head to the next one. */
function functionBody(text: string, name: string): string {
  const start = text.indexOf(`(func $${name} `);
  if (start < 0) return '';
  return text.slice(start, text.indexOf('\n (func ', start + 1));
}
