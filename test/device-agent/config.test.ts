import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import test from 'node:test';
import { loadAgentConfig } from '../../device-agent/config.ts';
import { ConfigError } from '../../runtime/config.ts';
import { temporaryFolder } from './collector/files.ts';

const sound = `
broker: localhost:8883
brokerName: ms-acc-1
data: ./data
recipients: [./reader.pem]
devices:
  - identity: ./dev-1
    collector: { kind: simulator, type: FM }
`;

/** Writes a configuration into a folder with what it names. */
function written(context: TestContext, yaml: string): string {
  const folder = temporaryFolder(context);
  for (const device of ['dev-1', 'dev-2']) mkdirSync(path.join(folder, device));
  for (const file of ['reader.pem', 'engines.txt']) writeFileSync(path.join(folder, file), '');
  const file = path.join(folder, 'agent.yaml');
  writeFileSync(file, yaml);
  return file;
}

function faultsOf(context: TestContext, yaml: string): string[] {
  try {
    loadAgentConfig(written(context, yaml));
  } catch (error) {
    if (error instanceof ConfigError) return error.faults.map((fault) => `${fault.path}: ${fault.message}`);
    throw error;
  }
  return [];
}

test('loadAgentConfig: paths are resolved, and what is not said has its default', (context) => {
  const file = written(context, sound);
  const config = loadAgentConfig(file);
  assert.deepEqual(config.broker, { host: 'localhost', port: 8883 });
  assert.equal(config.data, path.join(path.dirname(file), 'data'));
  assert.deepEqual(config.outbox, { envelopesMax: 100_000, whenFull: 'refuse' });
  assert.equal(config.drainSeconds, 10);
  assert.deepEqual(config.devices[0]?.collector, {
    kind: 'simulator',
    type: 'FM',
    condition: 'healthy',
    intervalMs: 1000,
    seed: 1,
    timeFactor: 1,
  });
});

test('loadAgentConfig: a replay by map and by pattern', (context) => {
  const devices = sound.replace(/\n {4}collector.*/, '');
  for (const units of ['{ "1": ms-acc-1/acc-1/dev-1 }', '"ms-acc-1/acc-1/unit-{unit}"']) {
    const yaml = `${devices}replay: { file: ./engines.txt, format: cmapss, units: ${units} }`;
    const { replay } = loadAgentConfig(written(context, yaml));
    assert.equal(replay?.speed, 'max');
  }
});

for (const [what, yaml, fault] of [
  ['a mistyped setting', `${sound}outbux: {}`, /^outbux: no such setting/],
  ['a missing recipient', sound.replace('reader.pem', 'nobody.pem'), /recipients\[0\].*no such file/],
  ['no recipient', sound.replace('[./reader.pem]', '[]'), /^recipients/],
  ['an unknown collector', sound.replace('simulator', 'divination'), /^devices\[0\]\.collector\.kind/],
  ['an interval of nothing', sound.replace('FM }', 'FM, intervalMs: 0 }'), /intervalMs/],
  ['a broker without a port', sound.replace(':8883', ''), /broker: wanted host:port/],
  ['a device twice', `${sound}  - identity: ./dev-1\n`, /devices\[1\]\.identity: .* second time/],
  [
    'standard input for two',
    sound.replace('simulator, type: FM', 'stdin') + '  - identity: ./dev-2\n    collector: { kind: stdin }\n',
    /one stream/,
  ],
  [
    'a replay for nobody',
    `${sound}replay: { file: ./engines.txt, format: cmapss, units: {} }`,
    /nothing is left to replay/,
  ],
  [
    'a pattern without a unit',
    `${sound}  - identity: ./dev-2\nreplay: { file: ./engines.txt, format: cmapss, units: a/b/c }`,
    /units/,
  ],
] as const) {
  test(`loadAgentConfig: ${what} is a fault with its place`, (context) => {
    assert.match(faultsOf(context, yaml).join('\n'), fault);
  });
}
