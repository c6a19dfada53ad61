import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import type { ConfigTypes } from '../../runtime/config.ts';
import { ConfigError, endpointType, loadConfig } from '../../runtime/config.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-config-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const schema = (types: ConfigTypes) =>
  z.strictObject({
    listen: endpointType,
    keys: types.existingPath,
    data: types.path.optional(),
    devices: z
      .array(z.strictObject({ name: z.string().min(1), intervalMs: z.number().positive() }))
      .default([]),
  });

function load(text: string) {
  const file = path.join(directory, 'program.yaml');
  writeFileSync(file, text);
  return loadConfig(file, schema);
}

function faultsOf(text: string): { path: string; message: string }[] {
  try {
    load(text);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return [...error.faults];
  }
  return assert.fail('the configuration was accepted');
}

test('loadConfig: paths are relative to the file, wherever the program was started', () => {
  const config = load('listen: "[::1]:0"\nkeys: ./program.yaml\ndata: ../data\n');
  assert.deepEqual(config, {
    listen: { host: '::1', port: 0 },
    keys: path.join(directory, 'program.yaml'),
    data: path.resolve(directory, '../data'),
    devices: [],
  });
});

test('loadConfig: every fault is reported at once, each with its place', () => {
  const faults = faultsOf(`
listen: localhost
keys: ./missing
lisen: 127.0.0.1:1
devices:
  - { name: "", intervalMs: -1 }
  - { name: a, intervalMs: 1, extra: true }
`);
  assert.deepEqual(faults.map((fault) => fault.path).toSorted(), [
    'devices[0].intervalMs',
    'devices[0].name',
    'devices[1].extra',
    'keys',
    'lisen',
    'listen',
  ]);
  assert.match(faults.find((fault) => fault.path === 'keys')?.message ?? '', /no such file: .*missing/);
  assert.equal(faults.find((fault) => fault.path === 'lisen')?.message, 'no such setting');
});

test('loadConfig: a setting that is not there is missing', () => {
  assert.deepEqual(faultsOf('listen: a:1\n'), [{ path: 'keys', message: 'is missing' }]);
});

test('loadConfig: a fault of YAML has its line and column', () => {
  const [fault] = faultsOf('listen: "127.0.0.1:1\nkeys: x\n');
  assert.match(fault?.path ?? '', /^line \d+, column \d+$/);
});

test('loadConfig: one key twice is a fault', () => {
  assert.match(faultsOf('listen: a:1\nlisten: b:1\n')[0]?.message ?? '', /unique/);
});

test('loadConfig: a file that is not there is one fault in one line', () => {
  assert.throws(
    () => loadConfig(path.join(directory, 'none.yaml'), schema),
    (error: unknown) =>
      error instanceof ConfigError && error.message.endsWith('none.yaml: cannot read it: no such file'),
  );
});

for (const text of ['a', 'a:', ':1', 'a:65536', 'a:1:2', 'a:-1', '::1:80']) {
  test(`endpointType: ${JSON.stringify(text)} is no host:port`, () => {
    assert.equal(endpointType.safeParse(text).success, false);
  });
}
