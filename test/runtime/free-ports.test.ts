import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { freePort, freePorts } from '../../runtime/free-ports.ts';

/** As the system gives it to a server that does not mind. */
async function anyPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

test('freePorts: all are different, and free, and none is one that the system would give to somebody else', async () => {
  const ports = [...(await freePorts(50)), await freePort()];
  assert.equal(new Set(ports).size, 51);
  const server = createServer().listen(ports[0], '127.0.0.1');
  await once(server, 'listening');
  server.close();
  const lowest = Math.min(...(await Promise.all(Array.from({ length: 50 }, anyPort))));
  assert(Math.max(...ports) < lowest);
});

test('freePorts: one that somebody has, and one that was given before, are passed over', async () => {
  const taken = await freePort();
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const used = (other.address() as AddressInfo).port;
  const choices = [used, taken, used].values();
  const ports = await freePorts(2, () => choices.next().value ?? randomInt(20_000, 30_000));
  assert.equal(choices.next().done, true);
  assert(!ports.includes(used) && !ports.includes(taken));
  other.close();
});
