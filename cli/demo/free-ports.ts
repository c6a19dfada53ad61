/** Ports for the demo's programs, chosen by the system, so that a program that is started again finds its own. */
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';

/** @returns `count` ports of the loopback interface that are free now, all different */
export async function freePorts(count: number): Promise<number[]> {
  const probes = await Promise.all(Array.from({ length: count }, listenAnywhere));
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  await Promise.all(probes.map((probe) => new Promise((resolve) => probe.close(resolve))));
  return ports;
}

function listenAnywhere(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}
