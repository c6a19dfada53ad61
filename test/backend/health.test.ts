/** What the backend says of itself to whoever watches it: metrics, and whether the database is there. */
import assert from 'node:assert/strict';
import { readFileSync, renameSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { parse } from 'yaml';
import { freePort } from '../../runtime/free-ports.ts';
import { freshUrl } from '../database/engines.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { snapshotService, Vendor } from './vendor.ts';

interface Watched {
  readonly recorded: RecordedLog;
  /** @returns status and body */
  readonly ask: (address: string) => Promise<readonly [number, string]>;
}

async function watched(context: TestContext, url: string): Promise<Watched> {
  const vendor = new Vendor(context);
  await vendor.issue(snapshotService);
  await vendor.startBroker();
  const recorded = new RecordedLog();
  const settings = { database: url, observe: '127.0.0.1:0', commandIdentity: undefined };
  const backend = await vendor.startBackend(recorded.log, settings);
  await recorded.until((records) => records.some(({ event }) => event === 'link.connected'));
  return {
    recorded,
    ask: async (address) => {
      const answer = await fetch(`http://127.0.0.1:${backend.observePort}${address}`);
      return [answer.status, await answer.text()];
    },
  };
}

/** The database goes and comes back while no envelope comes; nobody but the backend itself can notice. */
async function goAndComeBack(
  { recorded, ask }: Watched,
  go: () => unknown,
  comeBack: () => unknown,
): Promise<void> {
  const count = (event: string): number => recorded.records.filter((record) => record.event === event).length;
  assert.deepEqual(await ask('/readyz'), [200, '{"ready":true,"reasons":[]}']);
  for (let round = 1; round <= 2; round++) {
    await go();
    await recorded.until(() => count('database.unavailable') === round);
    const [status, body] = await ask('/readyz');
    assert.equal(status, 503);
    assert.match(body, /^\{"ready":false,"reasons":\["gone: /);
    assert.match((await ask('/metrics'))[1], /^plombe_backend_database_available 0$/m);
    await comeBack();
    await recorded.until(() => count('database.available') === round);
    assert.deepEqual(await ask('/readyz'), [200, '{"ready":true,"reasons":[]}']);
    assert.match((await ask('/metrics'))[1], /^plombe_backend_database_available 1$/m);
  }
}

test('/readyz: says no while the file of the database is away, and yes again', async (context) => {
  const url = await freshUrl(context, 'sqlite');
  const file = url.slice('sqlite:'.length);
  const site = await watched(context, url);
  await goAndComeBack(
    site,
    () => renameSync(file, `${file}.away`),
    () => renameSync(`${file}.away`, file),
  );
});

test('/readyz: says no while the server of the database is away, and yes again', async (context) => {
  const url = new URL(await freshUrl(context, 'mysql'));
  const target = { host: url.hostname, port: Number(url.port) };
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(target);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    near.pipe(far).pipe(near);
  });
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  const port = await freePort(); // again, later
  await listen(port);
  url.host = `127.0.0.1:${port}`;
  const site = await watched(context, url.href);
  context.after(close);
  await goAndComeBack(site, close, () => listen(port));
});

/** Name → type, and the bounds of its buckets. */
const promised: Readonly<Record<string, readonly [type: string, buckets?: readonly string[]]>> = {
  queue_envelopes: ['gauge'],
  connected: ['gauge'],
  database_available: ['gauge'],
  stored_total: ['counter'],
  redelivered_total: ['counter'],
  rejected_total: ['counter'],
  store_failures_total: ['counter'],
  batch_envelopes: ['histogram', ['1', '2', '4', '8', '16', '32', '64', '128', '256', '512', '+Inf']],
  commit_seconds: [
    'histogram',
    ['0.001', '0.0025', '0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1', '2.5', '10', '+Inf'],
  ],
  lag_seconds: [
    'histogram',
    ['0.01', '0.05', '0.1', '0.5', '1', '5', '30', '60', '600', '3600', '86400', '+Inf'],
  ],
};

test('/metrics: what is promised is there, explained, typed, and in buckets that tell something', async (context) => {
  const { ask } = await watched(context, await freshUrl(context, 'sqlite'));
  const [status, text] = await ask('/metrics');
  assert.equal(status, 200);
  for (const [name, [type, buckets = []]] of Object.entries(promised)) {
    const full = `plombe_backend_${name}`;
    assert.match(text, new RegExp(`^# HELP ${full} \\S.*\\.$`, 'm'));
    assert.match(text, new RegExp(`^# TYPE ${full} ${type}$`, 'm'));
    const found = Array.from(
      text.matchAll(new RegExp(`^${full}_bucket\\{le="([^"]+)"\\}`, 'gm')),
      ([, le]) => le,
    );
    assert.deepEqual(found, buckets, full);
  }
  // The examples for alerts ask for nothing else.
  const page = readFileSync(path.join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
  const [, rules = ''] = /```yaml\n(groups:\n {2}- name: plombe-backend\n[^`]*)```/.exec(page) ?? [];
  const parsed = parse(rules) as { groups: { rules: { alert: string; expr: string }[] }[] };
  const asked = parsed.groups.flatMap(({ rules: all }) => all.map(({ expr }) => expr)).join(' ');
  const names = new Set(asked.match(/plombe_backend_[a-z_]+/g));
  for (const name of names) assert.match(text, new RegExp(`^# TYPE ${name.replace(/_bucket$/, '')} `, 'm'));
  for (const name of Object.keys(promised))
    assert.ok(
      [...names].some((one) => one.startsWith(`plombe_backend_${name}`)),
      `an alert for ${name}`,
    );
});
