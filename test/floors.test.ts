import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { floors } from './floors.ts';

const root = path.resolve(import.meta.dirname, '..');
const importPattern =
  /(?:^|\s)(?:import|export)\s[^;]*?from\s+['"](\.[^'"]+)['"]|import\(\s*['"](\.[^'"]+)['"]/g;

function trespasses(file: string, source: string): string[] {
  const from = path.relative(root, file).split(path.sep)[0] ?? '';
  const allowed = floors[from];
  if (!allowed) return [`${from}/ has no line in test/floors.ts`];
  return Array.from(source.matchAll(importPattern), (match) => match[1] ?? match[2] ?? '')
    .map(
      (specifier) =>
        path.relative(root, path.resolve(path.dirname(file), specifier)).split(path.sep)[0] ?? '',
    )
    .filter((to) => to !== from && !allowed.includes(to))
    .map((to) => `${path.relative(root, file)} imports ${to}/`);
}

function sources(folder: string): string[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.join(root, folder, name));
}

test('floors: every import goes where the table allows', () => {
  const found = Object.keys(floors).flatMap((folder) =>
    sources(folder).flatMap((file) => trespasses(file, readFileSync(file, 'utf8'))),
  );
  assert.deepEqual(found, []);
});

test('floors: a planted trespass is caught', () => {
  const file = path.join(root, 'broker', 'planted.ts');
  assert.deepEqual(trespasses(file, `import { open } from '../cms/open.ts';`), [
    'broker/planted.ts imports cms/',
  ]);
  assert.deepEqual(trespasses(file, `const cms = await import('../cms/open.ts');`), [
    'broker/planted.ts imports cms/',
  ]);
});
