/** Free ports for a program that cannot be told to choose one, that starts a while later, or that is to find its own again. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import type { Server } from 'node:net';

/**
 * None that a system gives to whoever listens on port 0 or connects: on Linux these are 32768 and up, elsewhere 49152 and up
 * (RFC 6335 §6), and whoever asks next could have it before its program does.
 */
const [first, last] = [11_000, 32_767];
/** Whoever listens on the first port of a block has the others to give, so that two processes never choose the same. */
const blockPorts = 64;
const blocks = Math.floor((last - first + 1) / blockPorts);

let next = 0;
/** Of the block that this process has last. */
let end = 0;

/** @returns `count` ports of the loopback interface that are free now, all different, and no earlier ones again */
export async function freePorts(count: number): Promise<number[]> {
  const found: { readonly port: number; readonly probe: Server }[] = [];
  try {
    while (found.length < count) {
      if (next === end) await takeBlock();
      const port = next++;
      const probe = await listenOn(port);
      if (probe !== undefined) found.push({ port, probe });
    }
    return found.map(({ port }) => port);
  } finally {
    await Promise.all(found.map(({ probe }) => new Promise((resolve) => probe.close(resolve))));
  }
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** For as long as this process lives. @throws RangeError */
async function takeBlock(): Promise<void> {
  const start = randomInt(blocks);
  for (let passed = 0; passed < blocks; passed++) {
    const guarded = first + ((start + passed) % blocks) * blockPorts;
    const guard = await listenOn(guarded);
    if (guard === undefined) continue;
    guard.unref();
    [next, end] = [guarded + 1, guarded + blockPorts];
    return;
  }
  throw new RangeError(`no ports are free from ${first} to ${last}`);
}

/** @returns undefined if it cannot be had, for somebody has it */
function listenOn(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
