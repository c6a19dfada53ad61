import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startApi } from '../../backend/api/server.ts';
import { Feed } from '../../backend/feed.ts';
import { hashPassword } from '../../web/password.ts';
import { saveRules } from '../../database/processes.ts';
import { addUser } from '../../database/users.ts';
import { createLog } from '../../runtime/log.ts';
import type { Plant } from '../bpm/plant.ts';
import { createPlant } from '../bpm/plant.ts';

const password = 'a long enough password';
const device = 'm-1/a-1/d-1';

interface Client {
  readonly plant: Plant;
  /** @returns status and, where it is JSON, the body */
  readonly ask: (
    user: string | undefined,
    method: 'GET' | 'POST',
    url: string,
    body?: object,
  ) => Promise<[number, unknown]>;
}

async function createClient(context: TestContext): Promise<Client> {
  const plant = await createPlant(context, 'sqlite');
  for (const path of [device, 'm-2/a-1/d-1']) await plant.report(path, 17, 17);
  await plant.judge();
  const passwordHash = await hashPassword(password);
  for (const [name, role, scope] of [
    ['operator', 'operator', ''],
    ['technician', 'technician', 'm-1'],
    ['viewer', 'viewer', ''],
  ] as const) {
    await addUser(plant.database, { name, role, scope, passwordHash }, plant.nowMs);
  }
  const server = await startApi({ host: '127.0.0.1', port: 0 }, undefined, {
    database: plant.database,
    clock: () => plant.nowMs,
    log: createLog('test', 'silent'),
    feed: new Feed(),
    commands: undefined,
  });
  context.after(() => server.close());
  const origin = `http://127.0.0.1:${server.port}`;
  const headers = { 'content-type': 'application/json' };
  const cookies = new Map<string, string>();
  const cookieOf = async (user: string): Promise<string> => {
    const known = cookies.get(user);
    if (known !== undefined) return known;
    const body = JSON.stringify({ user, password });
    const answer = await fetch(`${origin}/api/login`, { method: 'POST', headers, body });
    assert.equal(answer.status, 204);
    const cookie = answer.headers.get('set-cookie')?.split(';', 1)[0] ?? '';
    cookies.set(user, cookie);
    return cookie;
  };
  return {
    plant,
    ask: async (user, method, url, body) => {
      const cookie = user === undefined ? {} : { cookie: await cookieOf(user) };
      const answer = await fetch(`${origin}${url}`, {
        method,
        headers: body === undefined ? cookie : { ...headers, ...cookie },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      return [answer.status, answer.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text];
    },
  };
}

const urls = [
  '/api/tasks',
  '/api/notifications',
  '/api/workflows',
  '/api/workflows/counts',
  `/api/condition?path=${device}`,
  '/api/definitions/condition',
  '/api/device-types/FM',
];

void test('process routes: nobody gets anything without a login', async (context) => {
  const { ask } = await createClient(context);
  for (const url of urls) assert.equal((await ask(undefined, 'GET', url))[0], 401, url);
  for (const url of urls) assert.equal((await ask('operator', 'GET', url))[0], 200, url);
  assert.equal((await ask(undefined, 'POST', '/api/tasks/x/complete', { comment: '' }))[0], 401);
});

void test('process routes: everything is within the scope of who asks', async (context) => {
  const { ask } = await createClient(context);
  for (const url of ['/api/tasks', '/api/notifications', '/api/workflows']) {
    const paths = async (user: string): Promise<string[]> => {
      const [, rows] = await ask(user, 'GET', url);
      return (rows as { path: string }[]).map(({ path }) => path).toSorted();
    };
    assert.deepEqual(await paths('operator'), [device, 'm-2/a-1/d-1'], url);
    assert.deepEqual(await paths('technician'), [device], url);
  }
  assert.deepEqual((await ask('technician', 'GET', '/api/workflows/counts'))[1], {
    normal: 0,
    abnormal: 1,
    overdue: 0,
  });
  assert.equal((await ask('technician', 'GET', '/api/condition?path=m-2/a-1/d-1'))[0], 404);
});

void test('GET /api/device-types/:name: the rules of a type are for who has such a device', async (context) => {
  const { ask, plant } = await createClient(context);
  const rules = { deviceType: 'PC', title: 'Particle counter', gauges: [], figures: [] };
  await saveRules(plant.database, new Map([['PC', JSON.stringify(rules)]]));
  const unknown = { deviceType: 'PC', title: 'PC', gauges: [], figures: [] };
  assert.deepEqual(await ask('operator', 'GET', '/api/device-types/PC'), [200, unknown]);
  await plant.reportReadings('m-2/a-1/d-2', 'PC', [{ channel: 'laser.life', value: 1 }]);
  assert.deepEqual(await ask('operator', 'GET', '/api/device-types/PC'), [200, rules]);
  assert.deepEqual(await ask('technician', 'GET', '/api/device-types/PC'), [200, unknown]);
});

void test('POST /api/tasks/:id/complete: once, by who may, within the scope', async (context) => {
  const { ask } = await createClient(context);
  const [, rows] = await ask('operator', 'GET', '/api/tasks');
  const idOf = (path: string): string =>
    (rows as { id: string; path: string }[]).find((row) => row.path === path)?.id ?? '';
  const complete = async (user: string, path: string, body: object = { comment: 'done' }): Promise<number> =>
    (await ask(user, 'POST', `/api/tasks/${idOf(path)}/complete`, body))[0];
  assert.equal(await complete('viewer', device), 403);
  assert.equal(await complete('technician', 'm-2/a-1/d-1'), 404);
  assert.equal(await complete('technician', device, { comment: 'x'.repeat(1001) }), 400);
  assert.equal(await complete('technician', device, { comment: 'x', state: 'open' }), 400);
  assert.equal(await complete('technician', device), 204);
  assert.equal(await complete('operator', device), 409);
});

void test('GET /api/definitions/:name: the file, or 404', async (context) => {
  const { ask, plant } = await createClient(context);
  const { digest, xml } = plant.definitions.condition;
  assert.deepEqual(await ask('viewer', 'GET', `/api/definitions/condition?digest=${digest}`), [200, xml]);
  assert.equal((await ask('viewer', 'GET', '/api/definitions/other'))[0], 404);
  assert.equal((await ask('viewer', 'GET', '/api/definitions/condition?digest=../../etc'))[0], 400);
});
