/** What people maintain of devices, through the API: who may, what is refused, and what is kept. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { createIngest } from '../../database/ingest.ts';
import type { Service } from '../../domain/service.ts';
import { dataFolder } from '../cms/fixtures.ts';
import { arrival, startMs } from '../database/arrivals.ts';
import { Page } from './page.ts';
import { openSite, pagesOf } from './site.ts';

const mine = 'ms-acc-1/acc-1/dev-1';
const foreign = 'ms-acc-10/acc-1/dev-1';
const absent = 'ms-acc-1/acc-1/no-such';
const naughty: readonly string[] = JSON.parse(
  readFileSync(path.join(dataFolder, 'naughty_strings', 'blns.json'), 'utf8'),
) as string[];

async function siteWithDevices(context: TestContext) {
  const site = await openSite(context);
  // At different times, so that one can have been the other.
  for (const device of [mine, foreign])
    await createIngest(site.database).storeBatch([
      {
        ...arrival(device, 1, undefined, { deviceType: device === mine ? 'FM' : 'PC' }),
        receivedMs: startMs + (device === mine ? 5000 : 6000),
      },
    ]);
  const pages = await pagesOf(site, {
    otto: { role: 'operator', scope: '' },
    olga: { role: 'operator', scope: 'ms-acc-1' },
    theo: { role: 'technician', scope: 'ms-acc-1' },
    vera: { role: 'viewer', scope: 'ms-acc-1' },
    nora: { role: 'viewer', scope: 'ms-acc-10' },
  });
  return { site, ...pages };
}

interface Kept {
  readonly owner: string;
  readonly labels: readonly string[];
  readonly technician: string;
  readonly revision: number;
  readonly changes: readonly { readonly changedBy: string; readonly field: string }[];
  readonly services: readonly Service[];
  readonly former: { readonly path: string } | null;
  readonly later: { readonly path: string } | null;
}

async function kept(page: Page, device = mine): Promise<Kept> {
  const { status, body } = await page.get(`/api/metadata?path=${device}`);
  assert.equal(status, 200);
  return body as Kept;
}

/** As bounds count them: code points. */
const characters = (text: string): number => Array.from(text).length;

const messageOf = (body: unknown): string => String((body as { message: unknown }).message);

/** Every change that people can make, as it would be taken. */
const changes = (device: string): readonly (readonly [url: string, body: object])[] => [
  ['/api/metadata', { path: device, owner: 'Werk 1' }],
  ['/api/services', { path: device, servicedMs: 5 }],
  ['/api/services/withdraw', { path: device, id: 1 }],
  ['/api/former', { path: device, former: null }],
];
const renaming = ['/api/channels/rename', { deviceType: 'FM', from: 'fuel.flow', to: 'oil.flow' }] as const;

test('routes of people: nobody changes anything without a login, a right, or from another site', async (context) => {
  const { site, vera, theo, olga } = await siteWithDevices(context);
  const stranger = new Page(site.port);
  for (const [url, body] of [...changes(mine), renaming]) {
    assert.equal((await stranger.post(url, body)).status, 401, url);
    assert.equal((await vera.post(url, body)).status, 403, url);
    for (const headers of [
      { origin: 'https://evil.example' },
      { 'sec-fetch-site': 'cross-site' },
      { 'content-type': 'text/plain' },
    ]) {
      const answer = await olga.post(url, body, headers);
      assert.deepEqual(
        [answer.status, (answer.body as { code: string }).code],
        [403, 'api.foreign_origin'],
        url,
      );
    }
  }
  // A technician notes what was done, and changes nothing else.
  for (const [url, body] of [changes(mine)[0], changes(mine)[3], renaming].filter((one) => one !== undefined))
    assert.equal((await theo.post(url, body)).status, 403, url);
  assert.equal((await olga.post(...renaming)).status, 403, 'a type is everybody’s who has such a device');
  for (const url of [`/api/metadata?path=${mine}`, '/api/device-types', '/api/channels?deviceType=FM'])
    assert.equal((await stranger.get(url)).status, 401, url);
  const { revision, services } = await kept(vera);
  assert.deepEqual([revision, services], [0, []]);
});

test('routes of people: what lies outside the scope is answered like what is not there', async (context) => {
  const { olga, theo } = await siteWithDevices(context);
  for (const page of [olga, theo]) {
    for (const [index, [url, body]] of changes(foreign).entries()) {
      const nowhere = changes(absent)[index]?.[1];
      const answer = await page.post(url, body);
      assert.deepEqual(answer, await page.post(url, nowhere), url);
      if (page === olga) assert.equal(answer.status, 404, url);
    }
    assert.deepEqual(
      await page.get(`/api/metadata?path=${foreign}`),
      await page.get(`/api/metadata?path=${absent}`),
    );
    assert.deepEqual(
      await page.get('/api/channels?deviceType=PC'),
      await page.get('/api/channels?deviceType=XY'),
    );
    assert.equal((await page.get('/api/channels?deviceType=PC')).status, 404);
    assert.deepEqual((await page.get('/api/device-types')).body, [{ name: 'FM', devices: 1 }]);
  }
  assert.equal((await olga.post('/api/former', { path: mine, former: foreign })).status, 404);
});

test('POST /api/metadata: naughty strings come back as they were typed', async (context) => {
  const { olga } = await siteWithDevices(context);
  const labels = [...new Set(naughty.filter((text) => text.trim() !== '' && characters(text) <= 40))];
  assert.ok(labels.length > 200);
  for (let at = 0; at < labels.length; at += 20) {
    const some = labels.slice(at, at + 20);
    assert.equal((await olga.post('/api/metadata', { path: mine, labels: some })).status, 200);
    assert.deepEqual((await kept(olga)).labels, some);
  }
  const long = naughty.filter((text) => characters(text) > 40);
  for (let at = 0; at < long.length; at += 2) {
    const [owner = '', technician = ''] = long.slice(at, at + 2);
    const answer = await olga.post('/api/metadata', { path: mine, owner, technician });
    const tooLong = [owner, technician].filter((text) => characters(text) > 200);
    assert.equal(answer.status, tooLong.length > 0 ? 400 : 200);
    if (tooLong.length > 0) assert.match(messageOf(answer.body), /: wanted at most 200 characters/);
    else assert.deepEqual(answer.body, { ...(answer.body as object), owner, technician });
  }
});

test('POST /api/metadata: what cannot be kept is refused, with the field and the bound', async (context) => {
  const { olga } = await siteWithDevices(context);
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ labels: Array.from({ length: 21 }, (_, index) => `l${index}`) }, /^labels: wanted at most 20 labels$/],
    [{ labels: ['x'.repeat(41)] }, /^labels\.0: wanted at most 40 characters$/],
    [{ labels: ['a', ' '] }, /^labels\.1: a label cannot be blank$/],
    [{ labels: ['a', 'a'] }, /^labels: two labels are the same$/],
    [{ labels: ['a\nb'] }, /^labels\.0: wanted one line of text$/],
    [{ owner: 'a\0b' }, /^owner: wanted one line of text$/],
    [{ technician: '\ud800' }, /^technician: wanted one line of text$/],
    [{ serviceHours: 0 }, /^serviceHours: /],
    [{ serviceDays: 1.5 }, /^serviceDays: /],
    [{ serviceDays: 1_000_001 }, /^serviceDays: /],
    [{ revision: -1 }, /^revision: /],
    [{ colour: 'red' }, /colour/],
  ];
  for (const [body, message] of cases) {
    const answer = await olga.post('/api/metadata', { path: mine, ...body });
    assert.equal(answer.status, 400, JSON.stringify(body));
    assert.match(messageOf(answer.body), message);
  }
  const huge = await olga.post('/api/metadata', { path: mine, owner: 'x'.repeat(100_000) });
  assert.equal(huge.status, 413);
  assert.equal((await kept(olga)).revision, 0);
});

test('POST /api/metadata: of those who looked at the same state one is taken, and the others learn whose', async (context) => {
  const { site, olga, otto } = await siteWithDevices(context);
  const { revision } = await kept(olga);
  const first = await otto.post('/api/metadata', { path: mine, revision, owner: 'Werk 1', labels: ['a'] });
  assert.equal(first.status, 200);
  const second = await olga.post('/api/metadata', { path: mine, revision, technician: 'Max' });
  assert.deepEqual(
    [second.status, second.body],
    [409, { code: 'database.conflict', message: 'otto changed labels, owner meanwhile' }],
  );
  const now = await kept(olga);
  assert.deepEqual([now.owner, now.technician], ['Werk 1', '']);
  const crowd = await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      olga.post('/api/metadata', { path: mine, revision: now.revision, technician: `t${index}` }),
    ),
  );
  assert.deepEqual(
    crowd.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, ...Array<number>(9).fill(409)],
  );
  // Whoever says no revision writes last.
  assert.equal((await olga.post('/api/metadata', { path: mine, technician: 'Eve' })).status, 200);
  const after = await kept(olga);
  assert.equal(after.technician, 'Eve');
  assert.deepEqual(
    after.changes.map(({ changedBy, field }) => `${changedBy} ${field}`),
    ['olga technician', 'olga technician', 'otto labels', 'otto owner'],
  );
  const told = site.records.filter(({ event }) => event === 'metadata.changed');
  assert.deepEqual([told.length, told[0]?.['by'], told[0]?.['fields']], [3, 'otto', ['owner', 'labels']]);
});

test('POST /api/services: a technician notes a service, and takes back what was a mistake', async (context) => {
  const { site, theo, vera, nora } = await siteWithDevices(context);
  const servicedMs = site.time.nowMs - 1000;
  const service = { path: mine, servicedMs, hours: 412.5, remark: '<b>filter</b> & pump' };
  assert.equal((await theo.post('/api/services', service)).status, 204);
  assert.equal((await theo.post('/api/services', { path: mine, servicedMs: 7 })).status, 204);
  for (const bad of [
    { servicedMs: site.time.nowMs + 600_000 },
    { servicedMs: 1, hours: -1 },
    { servicedMs: 1, remark: 'x'.repeat(501) },
    {},
  ])
    assert.equal((await theo.post('/api/services', { path: mine, ...bad })).status, 400, JSON.stringify(bad));
  const [newest, older] = (await kept(vera)).services;
  assert.deepEqual(newest, {
    id: newest?.id,
    servicedMs,
    hours: 412.5,
    remark: service.remark,
    notedMs: site.time.nowMs,
    notedBy: 'theo',
    withdrawnMs: null,
    withdrawnBy: null,
  });
  assert.deepEqual([older?.servicedMs, older?.hours, older?.remark], [7, null, '']);
  const withdrawal = { path: mine, id: newest?.id };
  assert.equal((await theo.post('/api/services/withdraw', { ...withdrawal, path: foreign })).status, 404);
  assert.equal((await theo.post('/api/services/withdraw', withdrawal)).status, 204);
  assert.equal((await theo.post('/api/services/withdraw', withdrawal)).status, 404);
  const [withdrawn] = (await kept(vera)).services;
  assert.deepEqual([withdrawn?.withdrawnMs, withdrawn?.withdrawnBy], [site.time.nowMs, 'theo']);
  assert.deepEqual((await kept(nora, foreign)).services, []);
});

test('POST /api/former: each owner sees its own part, and only who sees both sees that they are one', async (context) => {
  const { otto, vera, nora } = await siteWithDevices(context);
  const link = { path: foreign, former: mine };
  assert.equal(
    (await otto.post('/api/former', { path: mine, former: foreign })).status,
    409,
    'the later one',
  );
  assert.equal((await otto.post('/api/former', { path: mine, former: mine })).status, 409);
  assert.equal((await otto.post('/api/former', link)).status, 204);
  assert.equal((await kept(otto, foreign)).former?.path, mine);
  assert.equal((await kept(otto)).later?.path, foreign);
  assert.equal((await kept(vera)).later, null);
  const answer = await nora.get(`/api/metadata?path=${foreign}`);
  assert.equal(answer.status, 200);
  assert.ok(!JSON.stringify(answer.body).includes('ms-acc-1/'), 'whose it was');
  assert.equal((await nora.get(`/api/device?path=${mine}`)).status, 404);
  assert.equal((await vera.get(`/api/device?path=${foreign}`)).status, 404);
  assert.equal((await otto.post('/api/former', { path: foreign, former: null })).status, 204);
  assert.equal((await kept(otto, foreign)).former, null);
});

test('GET /api/channels: a rename is in the history, with who did it', async (context) => {
  const { otto, vera } = await siteWithDevices(context);
  assert.equal((await otto.post(...renaming)).status, 204);
  const { body } = await vera.get('/api/channels?deviceType=FM');
  const [channel] = body as { name: string; changes: { changedBy: string; oldValue: string }[] }[];
  assert.deepEqual(
    [channel?.name, channel?.changes.map(({ changedBy, oldValue }) => [changedBy, oldValue])],
    ['oil.flow', [['otto', 'fuel.flow']]],
  );
});

test('GET /api/fleet: a row says what people said of the device', async (context) => {
  const { otto, nora } = await siteWithDevices(context);
  const said = { owner: 'Werk 1', labels: ['hall 2', '<i>'], technician: 'Max' };
  await otto.post('/api/metadata', { path: mine, ...said });
  const rows = async (page: Page) =>
    ((await page.get('/api/fleet')).body as Record<string, unknown>[]).map(
      ({ owner, labels, technician }) => ({
        owner,
        labels,
        technician,
      }),
    );
  const blank = { owner: '', labels: [], technician: '' };
  assert.deepEqual(await rows(otto), [said, blank]);
  assert.deepEqual(await rows(nora), [blank]);
});
