/** A plain TCP port in front of a broker that only takes mutual TLS: those who knock here come in as one identity. */
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect } from 'node:tls';
import type { Dialect } from './mosquitto-dialect.ts';
import type { TlsIdentity } from '../pki/identity.ts';

export interface DoorOptions {
  readonly brokerPort: number;
  readonly identity: TlsIdentity;
  /** 0 for any. */
  readonly port: number;
  /** Puts answers into another form. */
  readonly dialect?: () => Dialect;
}

export interface Door {
  readonly port: number;
  close(): Promise<void>;
}

const lingerMs = 2000;
/** Clients say `localhost`, which is either. */
const addresses = ['127.0.0.1', '::1'];

/** Passes bytes and ends on; without a dialect unread, and nothing is repaired on the way. */
export async function openDoor(options: DoorOptions): Promise<Door> {
  const sockets = new Set<Socket>();
  const session: { ticket?: Buffer } = {};
  // A broker that counts connections must know of an end before it hears of what the client begins after it.
  const ending = new Set<Promise<void>>();
  const admit = (outer: Socket): void => {
    sockets.add(outer);
    outer.once('close', () => sockets.delete(outer));
    outer.on('error', () => undefined); // it closes next
    setImmediate(() => void Promise.all(ending).then(() => join(outer, options, session, ending)));
  };
  const servers: Server[] = [];
  let { port } = options;
  for (const address of addresses) {
    const server = createServer({ noDelay: true, allowHalfOpen: true }, admit);
    port = await listen(server, port, address);
    servers.push(server);
  }
  return {
    port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

function join(
  outer: Socket,
  { brokerPort, identity, dialect }: DoorOptions,
  session: { ticket?: Buffer },
  ending: Set<Promise<void>>,
): void {
  const { privateKeyPem: key, chainPem: cert, rootsPem: ca } = identity;
  const inner = connect({
    host: '127.0.0.1',
    port: brokerPort,
    key,
    cert,
    ca,
    ...(session.ticket && { session: session.ticket }),
  });
  inner.setNoDelay(true);
  inner.on('session', (ticket) => (session.ticket = ticket));
  inner.on('error', () => undefined); // it closes next
  outer.on('error', () => inner.destroy());
  outer.once('end', () => {
    if (inner.closed) return;
    const ended = new Promise<void>((resolve) => inner.once('close', () => resolve()));
    ending.add(ended);
    void ended.then(() => ending.delete(ended));
  });
  // Whatever the client still sends is read and thrown away: a reset would take the broker's last words from it.
  inner.once('close', () => {
    outer.end();
    outer.unpipe(inner);
    outer.resume();
    outer.setTimeout(lingerMs, () => outer.destroy());
  });
  const { fromClient, fromBroker } = dialect?.() ?? {
    fromClient: () => undefined,
    fromBroker: (chunk) => chunk,
  };
  outer.on('data', fromClient);
  outer.pipe(inner);
  inner.on('data', (chunk) => {
    if (!outer.write(fromBroker(chunk))) inner.pause();
  });
  outer.on('drain', () => inner.resume());
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
