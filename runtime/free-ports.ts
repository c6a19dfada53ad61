/** Free ports for a program that cannot be told to choose one, that starts a while later, or that is to find its own again. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';

/**
 * None that a system gives to whoever listens on port 0 or connects: on Linux these are 32768 and up, elsewhere 49152 and up
 * (RFC 6335 §6), and whoever asks next could have it before its program does.
 */
const [first, last] = [11_000, 32_767];
/** Of the same process. */
const given = new Set<number>();

/** @returns `count` ports of the loopback interface that are free now, all different, and no earlier ones again */
export async function freePorts(
  count: number,
  choose: () => number = () => randomInt(first, last + 1),
): Promise<number[]> {
  const probes: Server[] = [];
  try {
    while (probes.length < count && given.size <= last - first) {
      const port = choose();
      if (given.has(port)) continue;
      given.add(port);
      const probe = await listenOn(port);
      if (probe !== undefined) probes.push(probe);
    }
    if (probes.length < count) throw new RangeError(`no ports are free from ${first} to ${last}`);
    return probes.map((probe) => (probe.address() as AddressInfo).port);
  } finally {
    await Promise.all(probes.map((probe) => new Promise((resolve) => probe.close(resolve))));
  }
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** @returns undefined if it cannot be had, for somebody has it */
function listenOn(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
