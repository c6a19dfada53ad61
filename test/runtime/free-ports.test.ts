import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { leashed } from '../../scripts/leash.ts';
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

test('freePorts: one that somebody has is passed over, and none is given twice', async () => {
  const before = await freePort();
  const other = createServer().listen(before + 1, '127.0.0.1');
  await once(other, 'listening');
  const ports = await freePorts(200);
  assert.equal(new Set(ports).size, 200);
  assert(!ports.includes(before) && !ports.includes(before + 1));
  other.close();
});

test('freePorts: processes that choose at the same time, and do not listen yet, never choose the same', async () => {
  const source = path.resolve(import.meta.dirname, '../../runtime/free-ports.ts');
  // A third of all blocks between them, so that they meet; and each lives on, for whoever ended has no claim to his.
  const script = `import { freePorts } from ${JSON.stringify(source)};
    const ports = [];
    while (ports.length < 1800) ports.push(...(await freePorts(60)));
    console.log(JSON.stringify(ports));
    setInterval(() => {}, 60_000);`;
  const children = Array.from({ length: 4 }, () =>
    spawn(...leashed([process.execPath, '--input-type=module-typescript', '-e', script]), {
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  const chosen = await Promise.all(
    children.map(async ({ stdout }) => {
      const [line] = (await once(createInterface(stdout), 'line')) as [string];
      return JSON.parse(line) as number[];
    }),
  );
  assert.deepEqual(
    children.map(({ exitCode }) => exitCode),
    [null, null, null, null],
  );
  for (const child of children) child.kill('SIGKILL');
  assert.equal(new Set(chosen.flat()).size, 4 * 1800);
});
