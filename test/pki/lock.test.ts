import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createAuthority } from '../../pki/authority/authority.ts';
import { crlsFromPem } from '../../pki/crl.ts';

const base = mkdtempSync(join(tmpdir(), 'plombe-lock-'));
after(() => rmSync(base, { recursive: true, force: true }));

test('withLock: a living process keeps others out, and its end, however it comes, lets them in', async () => {
  const authority = createAuthority({ directory: join(base, 'pki-1') });
  const holder = spawn(
    process.execPath,
    [join(import.meta.dirname, 'lock-process.ts'), authority.directory],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await once(holder.stdout, 'data');
  await assert.rejects(authority.issueCrl(), { code: 'pki.authority_busy' });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  assert.equal((await authority.issueCrl()).issued, 4);
});

test('withLock: of many processes that work at once, each does its work whole', async () => {
  const authority = createAuthority({ directory: join(base, 'pki-2') });
  const work = Array.from({ length: 3 }, async (_, index) => {
    const child = spawn(process.execPath, [
      join(import.meta.dirname, 'lock-process.ts'),
      authority.directory,
      `ms-acc-${index}`,
    ]);
    const [status] = (await once(child, 'exit')) as [number];
    assert.equal(status, 0);
  });
  await Promise.all(work);
  const numbers = crlsFromPem(readFileSync(join(authority.directory, 'tls', 'crl.pem'))).map(
    ({ number }) => number,
  );
  assert.deepEqual(numbers, [1, 11, 11, 11, 1], 'root, ten revocations of each, vendor');
});
