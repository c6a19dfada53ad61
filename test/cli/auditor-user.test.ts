import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { openAccounts } from '../../auditor/page/accounts.ts';
import { isPassword } from '../../web/password.ts';
import type { Finished } from '../system/process.ts';
import { startPlombe } from '../system/process.ts';

test('plombe auditor user: a person is added with a password of at least ten characters, listed, and removed', async (context) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-auditor-user-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const config = path.join(directory, 'auditor.yaml');
  // The keys are not here: whoever makes accounts need not be able to read them.
  writeFileSync(config, 'identity: ./nowhere\ndata: ./data\n');
  const user = (args: readonly string[], input = ''): Promise<Finished> =>
    startPlombe(['auditor', 'user', ...args, '--config', config], Buffer.from(input)).finished;
  const add = ['add', 'rolf', '--role', 'releaser'];
  assert.equal((await user(add, 'too short\n')).status, 1);
  assert.equal((await user(add, 'a long enough password\n')).status, 0);
  assert.equal((await user(add)).status, 1); // there is one
  const accounts = openAccounts(path.join(directory, 'data'));
  context.after(() => accounts.close());
  const rolf = await accounts.find('rolf');
  assert.equal(await isPassword('a long enough password', rolf?.passwordHash ?? ''), true);
  assert.equal((await user(['list'])).stdout, 'rolf\treleaser\n');
  const { stdout } = await user(['passwd', 'rolf']);
  const made = /^Password of rolf: (\S{20})\n$/.exec(stdout)?.[1] ?? '';
  assert.equal(await isPassword(made, (await accounts.find('rolf'))?.passwordHash ?? ''), true);
  assert.equal((await user(['remove', 'rolf'])).status, 0);
  assert.equal((await user(['remove', 'rolf'])).status, 1);
});
