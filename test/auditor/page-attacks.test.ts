import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import test from 'node:test';
import { openAccounts } from '../../auditor/page/accounts.ts';
import { hashPassword } from '../../web/password.ts';
import { Page, password } from '../backend/page.ts';
import { holdOne, openStage } from './page-stage.ts';
import { device, openBench } from './premises.ts';

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

/** Sends a body without an end until the other side has had enough. @returns what it answered, and how much was sent */
function pour(port: number, head: string): Promise<{ readonly answer: string; readonly bytes: number }> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(head));
    const piece = `10000\r\n${'a'.repeat(0x10000)}\r\n`;
    let answer = '';
    const send = (): void => {
      while (!socket.destroyed && socket.write(piece));
    };
    socket.on('connect', send).on('drain', send);
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    socket.on('error', () => undefined).on('close', () => resolve({ answer, bytes: socket.bytesWritten }));
  });
}

test('page: another site can neither decide nor frame nor read', async (context) => {
  const stage = await openStage(context);
  const { rolf, nobody, auditor } = stage;
  const { id } = await holdOne(stage);
  const decision = `/api/held/${id}/decision`;
  const body = JSON.stringify({ outcome: 'released' });
  const json = 'application/json';
  const own = rolf.origin;
  for (const headers of [
    { 'content-type': json, origin: 'http://evil.test' },
    { 'content-type': json, origin: 'null' },
    { 'content-type': json, origin: own.replace('http:', 'ftp:') },
    { 'content-type': json, origin: `${own}.evil.test` },
    { 'content-type': json, 'sec-fetch-site': 'cross-site' },
    { 'content-type': json, 'sec-fetch-site': 'same-site' },
    { 'content-type': 'text/plain', origin: own },
    { 'content-type': 'application/x-www-form-urlencoded', origin: own },
    { 'content-type': 'multipart/form-data; boundary=x', origin: own },
    { origin: own },
  ]) {
    for (const path of [
      decision,
      decision.replace('api', '%61pi'),
      '/api/ledger/verification',
      '/api/logout',
    ]) {
      const { status } = await rolf.fetch(path, { method: 'POST', headers, body });
      assert.ok(status === 403 || status === 415, `${path} ${JSON.stringify(headers)}: ${status}`);
    }
  }
  assert.equal(
    (await rolf.fetch(decision, { method: 'PUT', body, headers: { 'content-type': json } })).status,
    404,
  );
  const preflight = { method: 'OPTIONS', headers: { origin: 'http://evil.test' } };
  assert.equal((await rolf.fetch(decision, preflight)).headers.get('access-control-allow-origin'), null);
  assert.deepEqual([auditor.state().held, (await rolf.get('/api/me')).status], [1, 200]);

  const found = [
    ['/', 200],
    ['/nothing', 404],
    ['/api/held', 200],
    [`/api/export/entries.csv?device=${device}`, 200],
    [`/api/export/entries.parquet?device=${device}`, 200],
    [`/api/data-sheet.html?device=${device}`, 200],
    [`/api/data-sheet.html?device=x`, 400],
  ] as const;
  for (const [path, status] of found) {
    const response = await rolf.fetch(path);
    await response.arrayBuffer();
    assert.equal(response.status, status, path);
    const header = (name: string): string => response.headers.get(name) ?? '';
    assert.match(header('content-security-policy'), /default-src 'none'.*frame-ancestors 'none'/, path);
    assert.deepEqual(
      ['x-frame-options', 'x-content-type-options', 'referrer-policy', 'cross-origin-opener-policy'].map(
        header,
      ),
      ['DENY', 'nosniff', 'no-referrer', 'same-origin'],
      path,
    );
    assert.equal(
      header('content-disposition').startsWith('attachment; '),
      /csv|parquet|html\?device=ms/.test(path),
      path,
    );
  }
  assert.equal((await nobody.fetch('/api/held')).headers.get('cache-control'), 'no-store');
});

test('page: nothing outside of its folders, no endless body, and no passwords by the dozen', async (context) => {
  const { auditor, nobody, vera } = await openStage(context);
  const port = auditor.pagePort ?? 0;
  for (const path of [
    '/../package.json',
    '/dashboard/../auditor/config.ts',
    '/dashboard/..%2fauditor%2fconfig.ts',
    '/dashboard/%2e%2e/%2e%2e/etc/passwd',
    '/dashboard/..%5cpackage.json',
    '/dashboard//etc/passwd',
    '/dashboard/style.css%00.html',
    '/dashboard/.git/config',
    '/domain/../package.json',
    '/vendor/lit-html/..%2f..%2fpackage.json',
    '/vendor/fastify/package.json',
    '/auditor/page/server.ts',
    '/%ff',
  ]) {
    const status = await rawGet(port, path);
    assert.ok(status === 404 || status === 400, `${path}: ${status}`);
  }

  assert.equal(
    (await nobody.post('/api/login', { user: 'rolf', password: 'x'.repeat(100_000) })).status,
    413,
  );
  const endless = await pour(
    port,
    'POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
  );
  assert.match(endless.answer, /^(HTTP\/1\.1 413 |$)/);
  assert.ok(endless.bytes < 64 * 1024 * 1024, 'it was cut off');
  for (const bad of [
    '{"user":"rolf","password":"x","__proto__":{"role":"releaser"}}',
    '[',
    '"x"',
    '{}',
    'null',
  ]) {
    const headers = { 'content-type': 'application/json', origin: nobody.origin };
    assert.equal((await nobody.fetch('/api/login', { method: 'POST', headers, body: bad })).status, 400, bad);
  }
  assert.equal((await vera.get(`/api/device?device=${device}&device=${device}`)).status, 400);

  const response = await nobody.fetch('/api/login', {
    method: 'POST',
    headers: { 'content-type': 'application/json', cookie: 'plombe_auditor_session=chosen-by-somebody' },
    body: JSON.stringify({ user: 'vera', password }),
  });
  const [set = ''] = response.headers.getSetCookie();
  assert.match(set, /^plombe_auditor_session=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/);
  const guess = (): Promise<number> => new Page(port).login('rolf', 'a wrong password');
  const statuses = await Promise.all(Array.from({ length: 6 }, guess));
  assert.deepEqual(new Set(statuses), new Set([401, 429]), 'at most four are looked at together');
  assert.ok(statuses.filter((status) => status === 401).length <= 4);
});

test('page: behind https its cookie is never sent in the clear, and only that address may change anything', async (context) => {
  const bench = await openBench(context);
  const accounts = openAccounts(bench.data);
  accounts.add('vera', 'viewer', await hashPassword(password));
  accounts.close();
  const publicUrl = 'https://auditor.example';
  const auditor = await bench.start({ page: { listen: '127.0.0.1:0', publicUrl } });
  const page = new Page(auditor.pagePort ?? 0);
  const login = (origin: string): Promise<Response> =>
    page.fetch('/api/login', {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin },
      body: JSON.stringify({ user: 'vera', password }),
    });
  assert.equal((await login(page.origin)).status, 403);
  const response = await login(publicUrl);
  assert.equal(response.status, 204);
  assert.match(response.headers.getSetCookie()[0] ?? '', /; HttpOnly; Secure; SameSite=Strict$/);
});
