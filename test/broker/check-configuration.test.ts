import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { openSite } from './fixture.ts';
import type { Site } from './fixture.ts';

let site: Site;
before(() => {
  site = openSite();
});
after(() => site.remove());

const cli = path.resolve(import.meta.dirname, '../../cli/main.ts');

function check(settings: Readonly<Record<string, unknown>>): {
  status: number | null;
  stdout: string;
  stderr: string;
} {
  const file = path.join(site.directory, 'broker.yaml');
  writeFileSync(file, stringify(settings));
  return spawnSync(process.execPath, [cli, 'broker', 'check', '--config', file], { encoding: 'utf8' });
}

async function customer(): Promise<Record<string, unknown>> {
  return {
    name: 'customer',
    listen: '127.0.0.1:8883',
    identity: await site.identity('ms-acc-1', ['127.0.0.1']),
    data: 'data',
    cascade: { upstream: 'vendor.example:8883', brokerName: 'vendor-broker' },
    roles: { 'vendor-command-service': { publish: ['ms-acc-1/+/+/commands'] } },
  };
}

test('broker check: prints what would be in force, and what everybody may', async () => {
  const { status, stdout, stderr } = check(await customer());
  assert.equal(stderr, '');
  assert.equal(status, 0);
  for (const line of [
    /broker\.yaml: no fault$/m,
    /^listen +127\.0\.0\.1:8883, MQTT over TLS$/m,
    /^identity +ms-acc-1, in .*, until 20\d\d-/m,
    /^CRLs +none until one arrives on vendor\/crl\/tls$/m,
    /^ {2}up +ms-acc-1\/\+\/\+\/snapshots, /m,
    /^ {2}everyone +publishes and reads what is below its own common name$/m,
    /^ {2}vendor-command-service +publishes ms-acc-1\/\+\/\+\/commands\n +reads nothing else$/m,
    /^ {2}MRO-Admin +publishes #\n +reads #, \$SYS\/#$/m,
  ])
    assert.match(stdout, line);
});

test('broker check: prints every fault of the file, each on a line of its own', async () => {
  const faulty = { ...(await customer()), listen: 'nowhere', lisen: 'x', queueFull: 'perhaps' };
  const { status, stdout, stderr } = check(faulty);
  assert.equal(status, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /^plombe: .*broker\.yaml: 3 faults$/m);
  for (const line of [/^ {2}listen: wanted host:port/m, /^ {2}lisen: no such setting$/m, /^ {2}queueFull: /m])
    assert.match(stderr, line);
});

test('broker check: what the files say counts as much as the file', async () => {
  const config = await customer();
  const client = { ...config, identity: await site.identity('ms-acc-1/acc-1/dev-1') };
  assert.match(check(client).stderr, /^plombe: .*no broker's certificate/);
  const denied = {
    ...config,
    cascade: { ...(config['cascade'] as object), up: ['ms-acc-2/#'] },
  };
  assert.match(check(denied).stderr, /cannot cascade ms-acc-2\/#: ms-acc-1 may not publish it upstream/);
  const missing = { ...config, crls: ['nowhere.pem'] };
  assert.match(check(missing).stderr, /crls\[0\]: no such file/);
});
