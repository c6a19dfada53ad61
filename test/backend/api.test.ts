import assert from 'node:assert/strict';
import test from 'node:test';
import { request as httpRequest } from 'node:http';
import { hashPassword, isPassword } from '../../web/password.ts';
import { noteBroker } from '../../database/brokers.ts';
import type { Database } from '../../database/connect.ts';
import { storeDeadLetters } from '../../database/dead-letters.ts';
import { createIngest } from '../../database/ingest.ts';
import { arrival, startMs } from '../database/arrivals.ts';
import { addUsers, Page, password } from './page.ts';
import { openSite } from './site.ts';

const mine = 'ms-acc-1/acc-1/dev-1';
const foreign = 'ms-acc-10/acc-1/dev-1';

async function fill(database: Database): Promise<void> {
  for (const path of ['ms-acc-1', 'ms-acc-10'])
    await noteBroker(database, path, { state: 'offline', name: path }, startMs);
  await createIngest(database).storeBatch(
    [mine, foreign].flatMap((path) => [arrival(path, 2), arrival(path, 2, undefined, { variant: 1 })]),
  );
  await storeDeadLetters(
    database,
    [mine, foreign].map((path) => ({
      topic: `${path}/snapshots`,
      devicePath: path,
      reason: 'cms.rejected',
      detail: '',
      receivedMs: startMs,
      payload: new Uint8Array(),
    })),
  );
}

test('password: is recognised in any Unicode form, and no other is', async () => {
  const hash = await hashPassword('Grün\u0065\u0301 Wiese');
  assert.equal(await isPassword('Gr\u0075\u0308n\u00e9 Wiese', hash), true);
  assert.equal(await isPassword('Grüne Wiese', hash), false);
  assert.equal(await isPassword('', 'md5$1$2$3$x$y'), false);
  assert.notEqual(hash, await hashPassword('Grün\u0065\u0301 Wiese'));
});

test('login: opens a session that other scripts cannot read, and logout ends it', async (context) => {
  const { port, database, time } = await openSite(context);
  await addUsers(database, [{ name: 'anna', role: 'viewer', scope: 'ms-acc-1' }]);
  const page = new Page(port);
  assert.equal((await page.get('/api/me')).status, 401);
  assert.equal(await page.login('anna', 'wrong'), 401);
  assert.equal(await page.login('nobody'), 401);
  const response = await page.fetch('/api/login', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user: 'anna', password }),
  });
  assert.equal(response.status, 204);
  assert.match(response.headers.getSetCookie()[0] ?? '', /; Path=\/; HttpOnly; SameSite=Strict$/);
  assert.equal(await page.login('anna'), 204);
  assert.deepEqual((await page.get('/api/me')).body, { user: 'anna', role: 'viewer', scope: 'ms-acc-1' });
  const twin = new Page(port);
  assert.equal(await twin.login('anna'), 204);
  assert.equal((await page.post('/api/logout', {})).status, 204);
  assert.equal((await page.get('/api/me')).status, 401);
  assert.equal((await twin.get('/api/me')).status, 200);
  time.nowMs += 12 * 3600 * 1000;
  assert.equal((await twin.get('/api/me')).status, 401);
});

test('login: behind https the cookie is never sent in the clear', async (context) => {
  const { port, database } = await openSite(context, 'https://plombe.example');
  await addUsers(database, [{ name: 'anna', role: 'viewer', scope: '' }]);
  const response = await new Page(port).fetch('/api/login', {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: 'https://plombe.example' },
    body: JSON.stringify({ user: 'anna', password }),
  });
  assert.equal(response.status, 204);
  assert.match(response.headers.getSetCookie()[0] ?? '', /; Secure/);
});

test('login: after ten wrong passwords the right one has to wait too', async (context) => {
  const { port, database, time } = await openSite(context);
  await addUsers(database, [
    { name: 'anna', role: 'viewer', scope: '' },
    { name: 'bert', role: 'viewer', scope: '' },
  ]);
  const page = new Page(port);
  for (let attempt = 0; attempt < 10; attempt++) assert.equal(await page.login('anna', 'wrong'), 401);
  assert.equal(await page.login('anna'), 429);
  assert.equal(await page.login('bert'), 204);
  time.nowMs += 15 * 60 * 1000;
  assert.equal(await page.login('anna'), 204);
});

test('registerSessions: a change that another site asks for is refused', async (context) => {
  const { port, database } = await openSite(context);
  await addUsers(database, [{ name: 'anna', role: 'operator', scope: '' }]);
  const page = new Page(port);
  await page.login('anna');
  const attempts: readonly Readonly<Record<string, string>>[] = [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/x-www-form-urlencoded' },
  ];
  for (const headers of attempts) {
    for (const path of ['/api/logout', '/api/commands', '/api/login', '/api/tasks/x/complete']) {
      assert.equal((await page.post(path, {}, headers)).status, 403, JSON.stringify([path, headers]));
    }
  }
  assert.equal((await page.get('/api/me')).status, 200);
});

/** Every route that shows or changes something, with what it needs. */
const device = (path: string): string[] => [
  `/api/device?path=${path}`,
  `/api/series?path=${path}&channel=fuel.flow&fromMs=0&toMs=${Date.UTC(2030, 0)}`,
  `/api/commands?path=${path}`,
  `/api/charts?path=${path}&channel=fuel.flow&channel=x&fromMs=0&toMs=1`,
  `/api/work?path=${path}&channel=fuel.flow&kind=state&fromMs=0&days=3`,
  `/api/metadata?path=${path}`,
];
const lists = [
  '/api/totals',
  '/api/fleet',
  '/api/brokers',
  '/api/dead-letters',
  '/api/alarms',
  '/api/exceeding?deviceType=FM&channel=fuel.flow&direction=above&value=0&when=ever',
  '/api/exceeding?deviceType=FM&channel=fuel.flow&direction=above&value=0&when=within&fromMs=0&toMs=4e12',
  '/api/exceeding?deviceType=FM&channel=fuel.flow&direction=above&value=0',
  '/api/channels?deviceType=FM',
  '/api/tasks',
  '/api/notifications',
  '/api/workflows',
  '/api/workflows/counts',
];

test('routes: nothing is answered without a session', async (context) => {
  const { port, database } = await openSite(context);
  await fill(database);
  const page = new Page(port);
  for (const path of [
    ...lists,
    ...device(mine),
    '/api/events',
    '/api/condition?path=x',
    '/api/definitions/x',
  ]) {
    const answer = await page.get(path);
    assert.equal(answer.status, 401, path);
    assert.ok(!JSON.stringify(answer.body).includes('ms-acc'), path);
  }
  assert.equal((await page.post('/api/commands', { path: mine, name: 'ping' })).status, 401);
  assert.equal((await page.post('/api/tasks/x/complete', {})).status, 401);
});

test('routes: a scope hides everything outside it, and whether it exists', async (context) => {
  const { port, database } = await openSite(context);
  await fill(database);
  await addUsers(database, [
    { name: 'anna', role: 'technician', scope: 'ms-acc-1' },
    { name: 'otto', role: 'operator', scope: '' },
  ]);
  const anna = new Page(port);
  const otto = new Page(port);
  await Promise.all([anna.login('anna'), otto.login('otto')]);
  for (const path of lists) {
    const answer = await anna.get(path);
    assert.equal(answer.status, 200, path);
    assert.ok(!JSON.stringify(answer.body).includes('ms-acc-10'), path);
  }
  for (const path of device(mine)) assert.equal((await anna.get(path)).status, 200, path);
  const absent = await anna.get('/api/device?path=ms-acc-1/acc-1/no-such');
  for (const path of device(foreign)) {
    const answer = await anna.get(path);
    assert.equal(answer.status, 404, path);
    if (path.startsWith('/api/device')) assert.deepEqual(answer, absent);
  }
  assert.equal((await anna.post('/api/commands', { path: foreign, name: 'ping' })).status, 404);
  assert.deepEqual((await anna.get('/api/totals')).body, {
    devices: 1,
    stored: 1,
    redelivered: 0,
    gapsOpen: 1,
    deadLetters: 1,
    alarmsOpen: 1,
    tasksOpen: 0,
  });
  for (const path of [...device(mine), ...device(foreign)])
    assert.equal((await otto.get(path)).status, 200, path);
  const fleet = (await otto.get('/api/fleet')).body;
  assert.deepEqual(Array.isArray(fleet) ? fleet.map((row: { path: string }) => row.path) : fleet, [
    mine,
    foreign,
  ]);
});

test('routes: a role limits what may be done', async (context) => {
  const { port, database } = await openSite(context);
  await fill(database);
  await addUsers(database, [
    { name: 'vera', role: 'viewer', scope: '' },
    { name: 'theo', role: 'technician', scope: '' },
    { name: 'otto', role: 'operator', scope: '' },
  ]);
  const [vera, theo, otto] = [new Page(port), new Page(port), new Page(port)] as const;
  await Promise.all([vera.login('vera'), theo.login('theo'), otto.login('otto')]);
  const ping = { path: mine, name: 'ping' };
  assert.equal((await vera.post('/api/commands', ping)).status, 403);
  assert.equal((await vera.post('/api/tasks/x/complete', {})).status, 403);
  assert.equal(
    (await theo.post('/api/commands', ping)).status,
    503,
    'no command identity is configured here',
  );
  assert.equal((await theo.get('/api/totals?count=exact')).status, 403);
  const owned = { path: mine, owner: 'Werk 1' };
  assert.equal((await theo.post('/api/metadata', owned)).status, 403);
  assert.equal((await theo.post('/api/channels/rename', {})).status, 403);
  assert.equal((await otto.post('/api/metadata', owned)).status, 200);
  assert.deepEqual((await otto.get('/api/totals?count=exact')).body, {
    devices: 2,
    stored: 2,
    duplicated: 0,
    redelivered: 0,
    gapsOpen: 2,
    deadLetters: 2,
    alarmsOpen: 2,
    tasksOpen: 0,
  });
});

test('routes: a nonsensical question is a 400 and never a 500', async (context) => {
  const { port, database } = await openSite(context);
  await fill(database);
  await addUsers(database, [{ name: 'otto', role: 'operator', scope: '' }]);
  const page = new Page(port);
  await page.login('otto');
  const series = (rest: string): string => `/api/series?path=${mine}&channel=fuel.flow&${rest}`;
  for (const path of [
    '/api/device',
    '/api/series',
    series('fromMs=2&toMs=1'),
    series('fromMs=NaN&toMs=1'),
    series('fromMs=0&toMs=Infinity'),
    series('fromMs=0&toMs=1&points=0'),
    series('fromMs=0&toMs=1&points=1000000000'),
    series('fromMs=0&toMs=1&points=1.5'),
    '/api/totals?count=roughly',
    `/api/charts?path=${mine}&fromMs=0&toMs=1`,
    `/api/work?path=${mine}&channel=x&kind=state&fromMs=0&days=100000`,
    '/api/exceeding?deviceType=FM&channel=x&direction=above&value=NaN',
    '/api/exceeding?deviceType=FM&channel=x&direction=above&value=1&when=within&fromMs=2&toMs=1',
    `/api/export?path=${mine}&fromMs=2&toMs=1`,
  ]) {
    assert.equal((await page.get(path)).status, 400, path);
  }
  assert.equal((await page.get(`/api/series?path=${mine}&channel=no-such&fromMs=0&toMs=1`)).status, 404);
  assert.equal((await page.get("/api/device?path=' or 1=1 --")).status, 404);
  assert.equal((await page.post('/api/commands', { path: mine, name: 'explode' })).status, 400);
  const broken = await page.fetch('/api/commands', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{',
  });
  assert.equal(broken.status, 400);
  assert.equal((await page.get('/api/no-such')).status, 404);
});

test('routes: a device is exported as a file, and only to who may see it', async (context) => {
  const { port, database } = await openSite(context);
  await fill(database);
  await addUsers(database, [{ name: 'anna', role: 'viewer', scope: 'ms-acc-1' }]);
  const anna = new Page(port);
  assert.equal((await anna.fetch(`/api/export?path=${mine}`)).status, 401);
  await anna.login('anna');
  const answer = await anna.fetch(`/api/export?path=${mine}`);
  assert.equal(answer.headers.get('content-disposition'), 'attachment; filename="ms-acc-1_acc-1_dev-1.csv"');
  assert.equal(
    await answer.text(),
    `time,sequence,fuel.flow\r\n${new Date(startMs + 2000).toISOString()},2,2\r\n`,
  );
  assert.equal((await anna.fetch(`/api/export?path=${foreign}`)).status, 404);
});

test('routes: what people say of a device and a channel is kept, with who said it', async (context) => {
  const { port, database, time } = await openSite(context);
  await fill(database);
  await addUsers(database, [
    { name: 'otto', role: 'operator', scope: '' },
    { name: 'olga', role: 'operator', scope: 'ms-acc-1' },
  ]);
  const [otto, olga] = [new Page(port), new Page(port)] as const;
  await Promise.all([otto.login('otto'), olga.login('olga')]);
  assert.equal((await olga.post('/api/metadata', { path: foreign, owner: 'x' })).status, 404);
  assert.equal((await olga.post('/api/metadata', { path: mine, serviceHours: 0 })).status, 400);
  const said = { labels: ['hall 2', 'Prüfstand'], technician: 'Max', serviceHours: 500 };
  assert.equal((await olga.post('/api/metadata', { path: mine, ...said })).status, 200);
  const { body } = await otto.get(`/api/metadata?path=${mine}`);
  const { changes, revision, ...now } = body as {
    revision: number;
    changes: { changedBy: string; changedMs: number; field: string }[];
  };
  assert.equal(revision, changes.length);
  assert.deepEqual(now, { owner: '', serviceDays: null, services: [], former: null, later: null, ...said });
  assert.deepEqual(
    changes.map(({ changedBy, changedMs, field }) => [changedBy, changedMs, field]),
    ['serviceHours', 'technician', 'labels'].map((field) => ['olga', time.nowMs, field]),
  );
  const rename = (page: Page, from: string, to: string) =>
    page.post('/api/channels/rename', { deviceType: 'FM', from, to });
  assert.equal((await rename(olga, 'fuel.flow', 'oil.flow')).status, 403);
  assert.equal((await rename(otto, 'fuel.flow', ': no name')).status, 400);
  assert.equal((await rename(otto, 'no-such', 'oil.flow')).status, 404);
  assert.equal((await rename(otto, 'fuel.flow', 'oil.flow')).status, 204);
  const [channel] = (await otto.get('/api/channels?deviceType=FM')).body as {
    name: string;
    formerNames: string[];
  }[];
  assert.deepEqual([channel?.name, channel?.formerNames], ['oil.flow', ['fuel.flow']]);
});

test('events: what happens is told within the scope of who listens', async (context) => {
  const { port, database, feed } = await openSite(context);
  await addUsers(database, [{ name: 'anna', role: 'viewer', scope: 'ms-acc-1' }]);
  const page = new Page(port);
  await page.login('anna');
  const response = await page.fetch('/api/events');
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const reader = (response.body ?? assert.fail('no body')).pipeThrough(new TextDecoderStream()).getReader();
  await reader.read();
  feed.stored([mine, foreign].map((path) => ({ path, sequence: 7, timeMs: startMs, stored: 3 })));
  feed.changed('gaps');
  let text = '';
  while (!text.includes('changed')) text += (await reader.read()).value ?? assert.fail('the stream ended');
  assert.equal(
    text,
    `event: snapshots\ndata: [{"path":"${mine}","sequence":7,"timeMs":${startMs},"stored":3}]\n\n` +
      'event: changed\ndata: {"what":"gaps"}\n\n',
  );
  await reader.cancel();
});

/** `fetch` would tidy the path up before it is sent. */
function rawGet(port: number, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    httpRequest({ host: '127.0.0.1', port, path }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });
}

test('static: the page and its parts are there, with their types and a strict policy', async (context) => {
  const { port } = await openSite(context);
  const page = new Page(port);
  const index = await page.fetch('/');
  const html = await index.text();
  assert.equal(index.headers.get('content-type'), 'text/html; charset=utf-8');
  const policy = index.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /script-src[^;]*unsafe/);
  assert.match(policy, /script-src 'self' 'sha256-/, 'the import map is named by its hash');
  assert.match(html, /importmap/);
  const module = await page.fetch('/http.ts');
  assert.equal(module.headers.get('content-type'), 'text/javascript; charset=utf-8');
  const source = await module.text();
  assert.doesNotMatch(source, /^export (interface|type) /m);
  assert.equal(source.includes('export class ApiError'), true);
  const etag = module.headers.get('etag') ?? '';
  assert.equal((await page.fetch('/http.ts', { headers: { 'if-none-match': etag } })).status, 304);
  for (const path of [
    '/vendor/lit-html/lit-html.js',
    '/vendor/uplot/dist/uPlot.min.css',
    '/domain/clock.ts',
  ]) {
    const part = await page.fetch(path);
    assert.equal(part.status, 200, path);
    assert.equal(part.headers.get('x-content-type-options'), 'nosniff');
  }
});

test('static: nothing outside the folders is served', async (context) => {
  const { port } = await openSite(context);
  for (const path of [
    '/../package.json',
    '/..%2fpackage.json',
    '/%2e%2e/package.json',
    '/..%5cpackage.json',
    '/domain/../backend/main.ts',
    '/domain/..%2fbackend%2fmain.ts',
    '/vendor/fastify/package.json',
    '/vendor/lit-html/..%2ffastify%2fpackage.json',
    '/vendor/..%2f..%2fpackage.json',
    '/vendor/',
    '/domain/',
    '/.git/config',
    '/backend/main.ts',
    '/api.ts%00.html',
    '//etc/passwd',
    '/%ff',
  ]) {
    const status = await rawGet(port, path);
    assert.ok(status === 404 || status === 400, `${path}: ${status}`);
  }
});
