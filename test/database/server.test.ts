/** What a server's administrator may have decided: whatever it is, what we store is the same. */
import assert from 'node:assert/strict';
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
