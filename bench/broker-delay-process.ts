/** A wire with a round trip: passes TCP bytes on to a port, each direction late by half of it. `PORT ROUND_TRIP_MS` */
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { endWithParent } from '../scripts/leash.ts';

endWithParent();
const [port = '', roundTripMs = ''] = process.argv.slice(2);
const delayMs = Number(roundTripMs) / 2;
/** What is on the wire; beyond it the sender waits, as with any window of TCP. */
const onWireBytesMax = 16 * 1024 ** 2;

const server = createServer({ noDelay: true }, (near) => {
  const far = connect({ port: Number(port), host: '127.0.0.1', noDelay: true });
  passOn(near, far);
  passOn(far, near);
});
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));

function passOn(from: Socket, to: Socket): void {
  const waiting: { readonly dueMs: number; readonly chunk: Buffer }[] = [];
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;
  const deliver = (): void => {
    timer = undefined;
    while (waiting[0] !== undefined && waiting[0].dueMs <= performance.now()) {
      const { chunk } = waiting.shift() ?? { chunk: Buffer.alloc(0) };
      bytes -= chunk.length;
      to.write(chunk);
    }
    if (bytes < onWireBytesMax) from.resume();
    if (waiting[0] !== undefined)
      timer = setTimeout(deliver, Math.max(0, waiting[0].dueMs - performance.now()));
  };
  from.on('data', (chunk) => {
    waiting.push({ dueMs: performance.now() + delayMs, chunk });
    bytes += chunk.length;
    if (bytes >= onWireBytesMax) from.pause();
    timer ??= setTimeout(deliver, delayMs);
  });
  from.once('close', () => to.destroy());
  from.on('error', () => to.destroy());
}
