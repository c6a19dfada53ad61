import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

const cli = path.resolve(import.meta.dirname, '../../../cli/main.ts');
const directory = mkdtempSync(path.join(tmpdir(), 'plombe-tacs-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function tacs(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [cli, 'tacs', ...args], { encoding: 'utf8' });
}

test('tacs check: prints allow with status 0, deny with status 1', () => {
  assert.partialDeepStrictEqual(tacs('check', 'ms-acc-1', 'ms-acc-1/#'), { status: 0, stdout: 'allow\n' });
  const denied = tacs('check', 'ms-acc-1', 'ms-acc-10/#');
  assert.partialDeepStrictEqual(denied, { status: 1, stdout: 'deny\n' });
  assert.match(denied.stderr, /outside its subtree/);
});

test('tacs check: asks for publishing when told to, and takes the roles of a configuration', () => {
  const topic = 'ms-acc-1/acc-1/dev-1/commands';
  assert.equal(tacs('check', 'vendor-command-service', topic, '--action', 'publish').status, 0);
  const config = path.join(directory, 'broker.yaml');
  writeFileSync(
    config,
    'name: x\nroles:\n  vendor-command-service: { publish: ["ms-acc-2/+/+/commands"] }\n',
  );
  assert.equal(
    tacs('check', 'vendor-command-service', topic, '--action', 'publish', '--config', config).status,
    1,
  );
});

test('tacs export: both formats name every service of the table and the own subtree', () => {
  const mosquitto = tacs('export', '--for', 'mosquitto').stdout;
  assert.match(mosquitto, /^pattern readwrite %u\/#$/m);
  assert.match(
    mosquitto,
    /^user vendor-snapshot-service\n(topic write .*\n)+topic read \+\/\+\/\+\/snapshots$/m,
  );
  const emqx = tacs('export', '--for', 'emqx').stdout;
  assert.match(emqx, /^\{allow, all, all, \["\$\{username\}\/#"\]\}\.$/m);
  assert.match(emqx, /\{deny, all\}\.\n$/);
});

test('tacs export: a + that ends a right does not become # in EMQX', () => {
  const denial = '{deny, {user, "vendor-enrolment-service"}, subscribe, [{eq, "vendor/enrolment/#"}]}.';
  const lines = tacs('export', '--for', 'emqx').stdout.split('\n');
  const denied = lines.indexOf(denial);
  const allowed = lines.findIndex((line) => line.includes('"vendor/enrolment/+"'));
  assert(denied >= 0 && denied < allowed, 'the first rule that matches counts');
  assert.equal(lines.filter((line) => line.startsWith('{deny')).length, 2, 'and {deny, all}');
});

test('tacs export: names what has to be set, and what is lost', () => {
  for (const [broker, settings] of [
    ['mosquitto', ['require_certificate', 'use_identity_as_username', 'allow_anonymous', 'bootstrap']],
    ['hivemq', ['client-authentication-mode REQUIRED', 'truststore', 'allow-all-extension']],
    ['emqx', ['peer_cert_as_username', 'fail_if_no_peer_cert', 'topic_template_allow.slash', 'bootstrap']],
  ] as const) {
    const text = tacs('export', '--for', broker).stdout;
    for (const setting of settings) assert(text.includes(setting), `${broker} without ${setting}`);
  }
});
