/** What a server's administrator may have decided: whatever it is, what we store is the same. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { connectDatabase } from '../../database/connect.ts';
import { checkDatabase } from '../../database/check.ts';
import { copyDatabase } from '../../database/copy.ts';
import { createIngest } from '../../database/ingest.ts';
import { readLatest } from '../../database/latest.ts';
import { migrate } from '../../database/migrate.ts';
import { inTransaction } from '../../database/statements.ts';
import { countSnapshots } from '../../database/totals.ts';
import { addUser, findUser } from '../../database/users.ts';
import { startMariadb } from '../../scripts/mariadb.ts';
import { snapshotsPerSealing } from '../../database/chunks/seal.ts';
import { arrival } from './arrivals.ts';
import { freshDatabase } from './engines.ts';

const device = 'ms-acc-1/acc-1/dev-1';
const settings = [
  '--autocommit=0',
  '--sql-mode=ANSI,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT',
  '--transaction-isolation=SERIALIZABLE',
  '--default-time-zone=-09:30',
  '--character-set-server=latin1',
  '--lower-case-table-names=1',
  '--innodb-force-primary-key=1',
  '--max-allowed-packet=8M',
];

test('connectDatabase: a server of other habits stores the same, and for everybody', async (context) => {
  const server = await startMariadb(undefined, settings);
  context.after(() => server.stop());
  const database = await connectDatabase(server.url);
  const other = await connectDatabase(server.url);
  context.after(() => Promise.all([database.close(), other.close()]));
  await migrate(database);
  const readings = [
    { channel: 'x', unit: '°C', value: -0 },
    { channel: 'text', value: `O'Brien "\\" 😀` },
  ];
  const count = snapshotsPerSealing + 20;
  await createIngest(database).storeBatch(
    Array.from({ length: count }, (_, index) => arrival(device, index + 1, readings)),
  );
  await addUser(database, { name: 'Zoë', role: 'viewer', scope: '', passwordHash: 'h' }, 1);
  assert.deepEqual(await countSnapshots(other, ''), { stored: count, duplicated: 0 });
  assert.equal((await findUser(other, 'Zoë'))?.role, 'viewer');
  const latest = await readLatest(other, device);
  assert.deepEqual(
    latest.map(({ channel, unit, value }) => [channel, unit, value]),
    [
      ['text', null, readings[1]?.value],
      ['x', '°C', -0],
    ],
  );
  assert.deepEqual(await checkDatabase(other), []);
  const source = await freshDatabase(context, 'sqlite');
  await createIngest(source).storeBatch([arrival(device, 1, readings)]);
  await copyDatabase(source, database, { nowMs: 1, restart: true });
  assert.deepEqual(await countSnapshots(other, ''), { stored: 1, duplicated: 0 });

  await inTransaction(database, (one) => one.run('set global max_allowed_packet = 4194304', []));
  const small = await connectDatabase(server.url);
  context.after(() => small.close());
  await assert.rejects(() => migrate(small), { message: /max_allowed_packet .* 4194304, wanted/ });
});

/** Makes `NAME.pem` and `NAME.key` in a folder: a CA of its own, or a certificate for a host by one. */
function certify(folder: string, name: string, host?: string, issuer?: string): string {
  const at = (file: string): string => path.join(folder, file);
  const signed = issuer === undefined ? [] : ['-CA', at(`${issuer}.pem`), '-CAkey', at(`${issuer}.key`)];
  const named = host === undefined ? [] : ['-addext', `subjectAltName=DNS:${host}`];
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    at(`${name}.key`),
  ];
  const request = ['req', '-x509', ...key, ...signed, ...named, '-subj', `/CN=${host ?? name}`, '-days', '2'];
  execFileSync('openssl', [...request, '-out', at(`${name}.pem`)], { stdio: 'ignore' });
  return at(`${name}.pem`);
}

test('connectDatabase: with ca= it speaks TLS with the server of that name, and with nobody else', async (context) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-tls-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const [ca, foreign] = [certify(folder, 'ca'), certify(folder, 'foreign')];
  const certificate = certify(folder, 'server', 'localhost', 'ca');
  const key = path.join(folder, 'server.key');
  const server = await startMariadb(undefined, [`--ssl-cert=${certificate}`, `--ssl-key=${key}`]);
  context.after(() => server.stop());
  const urlWith = (file: string, host = 'localhost'): string =>
    `${server.url.replace('127.0.0.1', host)}?ca=${encodeURIComponent(file)}`;
  const cipherOf = async (url: string): Promise<string> => {
    const database = await connectDatabase(url);
    try {
      return await inTransaction(database, async (one) => {
        const [row] = await one.all<{ Value: string }>(`show session status like 'Ssl_cipher'`, []);
        return row?.Value ?? '';
      });
    } finally {
      await database.close();
    }
  };
  assert.equal(await cipherOf(server.url), '', 'it would do without');
  assert.match(await cipherOf(urlWith(ca)), /^TLS_/);
  await assert.rejects(() => cipherOf(urlWith(foreign)), /unable to verify|self-signed/);
  certify(folder, 'server', 'elsewhere', 'ca');
  const database = await connectDatabase(server.url);
  await inTransaction(database, (one) => one.run('flush ssl', []));
  await database.close();
  await assert.rejects(() => cipherOf(urlWith(ca)), /localhost.*elsewhere|elsewhere.*localhost/);

  const invalid = path.join(folder, 'invalid.pem');
  writeFileSync(invalid, 'nonsense');
  for (const url of [urlWith('ca.pem'), urlWith(ca, '127.0.0.1'), urlWith(invalid), urlWith(`${ca}.not`)])
    await assert.rejects(() => connectDatabase(url), { code: 'database.url' });
});
