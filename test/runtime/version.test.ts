import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { packageVersion } from '../../runtime/version.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-version-'));
after(() => rmSync(directory, { recursive: true, force: true }));

test('packageVersion: is that of package.json beside the sources', () => {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  assert.equal(packageVersion(), version);
});

test('packageVersion: below dist/ it is that of the package.json above', async () => {
  writeFileSync(path.join(directory, 'package.json'), '{"version":"4.5.6","type":"module"}');
  const compiled = path.join(directory, 'dist', 'runtime', 'version.ts');
  mkdirSync(path.dirname(compiled), { recursive: true });
  cpSync(path.resolve(import.meta.dirname, '../../runtime/version.ts'), compiled);
  const copy = (await import(pathToFileURL(compiled).href)) as { packageVersion: () => string };
  assert.equal(copy.packageVersion(), '4.5.6');
});
