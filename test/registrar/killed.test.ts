/** A device and the registrar, each cut off before every step that they take on the disk: the device ends with an identity. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { loadIdentity } from '../../pki/identity.ts';
import { openVendor } from './fixture.ts';
import type { Vendor } from './fixture.ts';
import { PowerCut } from './power-cut.ts';

const repository = path.resolve(import.meta.dirname, '../..');
let vendor: Vendor;
before(async () => (vendor = await openVendor()));
after(() => vendor.remove());

/** @param killAt - undefined: not at all */
function start(args: readonly string[], killAt: number | undefined): ChildProcess {
  const preload =
    killAt === undefined ? [] : ['--import', path.join(import.meta.dirname, 'killed-process.ts')];
  return spawn(process.execPath, [...preload, path.join(repository, 'cli/main.ts'), ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      KILL_AT: String(killAt),
      NODE_COMPILE_CACHE: path.join(vendor.site.directory, 'compiled'),
    },
  });
}

/** @returns the signal that ended it */
async function ended(child: ChildProcess): Promise<string | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.signalCode;
}

/** Three keys, the request, two roots, three certificates and chains: each a file that is synced and renamed. */
const enrolmentStepsMin = 24;

test('device enrol: without power before every step, and started again, it ends with the same keys certified', async () => {
  const { registrar } = await vendor.startRegistrar();
  let steps = 0;
  for (let isOver = false; !isOver;) {
    const at = steps + 1;
    const device = `ms-acc-1/acc-1/dev-${at}`;
    const directory = vendor.directory(device);
    const token = await vendor.token(device);
    const cut = new PowerCut(at);
    const first = cut.within(() => vendor.enrol(token, directory));
    isOver = (await Promise.race([cut.off, first])) !== 'off';
    await first.catch(() => undefined);
    if (!isOver) steps = at;
    await vendor.enrol(token, directory);
    assert.equal(loadIdentity(directory).commonName, device, `before step ${at}`);
  }
  assert(steps >= enrolmentStepsMin, `${steps} steps`);
  await vendor.stop(registrar);
});

test('plombe device enrol: the same by SIGKILL, at a few of them', async () => {
  const { registrar } = await vendor.startRegistrar();
  for (const killAt of [8, 16, 24]) {
    const device = `ms-acc-1/acc-1/dev-${1000 + killAt}`;
    const directory = vendor.directory(device);
    const token = vendor.file(`${killAt}.token`, await vendor.token(device));
    const args = ['device', 'enrol', '--token', token, '--out', directory, '--wait', '20'];
    assert.equal(await ended(start(args, killAt)), 'SIGKILL');
    const again = start(args, undefined);
    assert.equal(await ended(again), null);
    assert.equal(again.exitCode, 0, `before step ${killAt}`);
    assert.equal(loadIdentity(directory).commonName, device, `before step ${killAt}`);
  }
  await vendor.stop(registrar);
});

test('plombe registrar: killed before every step, and started again, it answers what it was asked, once', async () => {
  const { broker, brokerName, authority, identity, crlIdentity, data } = await vendor.config({
    data: path.join(vendor.site.directory, 'killed-registrar'),
  });
  const config = {
    brokerName,
    authority,
    identity,
    crlIdentity,
    data,
    broker: `${broker.host}:${broker.port}`,
  };
  const args = ['registrar', '--config', vendor.file('registrar.yaml', JSON.stringify(config))];
  const issuedTo = (device: string): number =>
    vendor.site.authority
      .ledger('e2e')
      .filter(({ subject, event }) => subject === device && event === 'issued').length;
  let wasKilled = true;
  let kills = 0;
  for (let killAt = 1; wasKilled; killAt++) {
    const device = `ms-acc-1/acc-2/dev-${killAt}`;
    const token = await vendor.token(device);
    const directory = vendor.directory(device);
    const first = start(args, killAt);
    const enrolled = vendor.enrol(token, directory, 60_000);
    const outcome = await Promise.race([ended(first), enrolled.then(() => 'answered')]);
    wasKilled = outcome === 'SIGKILL';
    const second = wasKilled ? start(args, undefined) : first;
    await enrolled;
    assert.equal(loadIdentity(directory).commonName, device, `before step ${killAt}`);
    // One SIG certificate for the invitation, and two for each time that it was certified.
    assert(issuedTo(device) <= 5, `${issuedTo(device)} certificates before step ${killAt}`);
    second.kill('SIGTERM');
    await ended(second);
    if (wasKilled) kills += 1;
  }
  assert(kills >= 7, `killed ${kills} times`);
});
