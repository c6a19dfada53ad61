import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { askAgent, FleetReader } from '../../cli/demo/tally.ts';

test('askAgent, FleetReader: a program that is killed in the middle of its answer has not answered', async (context) => {
  const server = createServer((request, response) => {
    if (request.url === '/api/login') return response.writeHead(204, { 'set-cookie': 'a=b' }).end();
    response.writeHead(200, { 'content-type': 'application/json' }).write('[{"path":');
    return setImmediate(() => response.destroy());
  }).listen(0, '127.0.0.1');
  context.after(() => server.close());
  await once(server, 'listening');
  const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  assert.equal(await askAgent(endpoint), undefined);
  const reader = new FleetReader(`http://${endpoint}`, { user: 'operator', password: 'x' });
  assert.equal(await reader.fleet(), undefined);
});
