/** Carries a client's connection over a channel: bytes both ways, each side no faster than the other takes them. */
import type { Transport } from '../connection/transport.ts';
import type { Channel } from './channel.ts';

/** A client that does not read its last packets is not waited for. */
const lingerMs = 2000;

/** @param client - the decrypted connection @param channel - to whoever serves it */
export function relay(client: Transport, channel: Channel): void {
  channel.whenEnded(() => client.end());
  client.start({
    onBytes: (bytes) => {
      if (!channel.write(bytes)) client.pause();
    },
    onDrain: () => channel.resume(),
    onFault: () => channel.finish(),
    onError: () => channel.finish(),
    // What it sent last, perhaps its goodbye, still counts.
    onClose: () => channel.finish(),
  });
  channel.start({
    onBytes: (bytes) => {
      if (!client.write(bytes)) channel.pause();
    },
    onDrain: () => client.resume(),
    onFault: () => client.destroy(),
    onError: () => client.destroy(),
    onClose: () => {
      client.end();
      client.destroyAfter(lingerMs);
    },
  });
}
