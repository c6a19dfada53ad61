/** The TLS listener: mutual TLS 1.2 or 1.3 against pinned roots, bounded before anybody has shown who it is. */
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:tls';
import type { SecureContextOptions, Server, TLSSocket } from 'node:tls';
import type { TlsIdentity } from '../../pki/identity.ts';
import { PkiError } from '../../pki/errors.ts';
import { tlsKeyOptions } from '../../pki/tls-key.ts';
import type { Endpoint } from '../../runtime/config.ts';
import type { Log } from '../../runtime/log.ts';
import { claimedName, isForVerifier } from '../access/identity.ts';
import type { Peer, PeerVerifier } from '../access/identity.ts';
import type { BrokerLimits } from '../limits.ts';
import { Handshakes } from '../quota/handshakes.ts';
import type { HandshakeLimits } from '../quota/handshakes.ts';
import type { Measures } from '../measures.ts';
import type { RefusalReason } from '../reasons.ts';

export interface ListenerOptions {
  readonly endpoint: Endpoint;
  /** Other processes listen there too, and the system spreads the connections. */
  readonly reusePort?: boolean;
  readonly identity: TlsIdentity;
  readonly verifier: PeerVerifier;
  readonly limits: HandshakeLimits & Pick<BrokerLimits, 'connectionsMax'>;
  readonly measures: Measures;
  readonly log: Log;
  /** Never goes back; the process's own unless given. */
  readonly monotonicMs?: () => number;
  /** A connection whose certificate is verified; false if it cannot be served now. */
  readonly onPeer: (socket: TLSSocket, peer: Peer) => boolean;
}

export interface Listener {
  readonly port: number;
  /** Shows another certificate, and asks for one below other roots, from the next handshake on. Takes the limits anew. */
  reload(identity: TlsIdentity): void;
  /** Takes no more connections; those that stand are the caller's. */
  close(): Promise<void>;
}

/** For TLS 1.2 the one suite of DESIGN §6; the rest is TLS 1.3. */
const ciphers = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
].join(':');

/** Key exchange, and for TLS 1.2 also the curves that a certificate may be on (RFC 8422 §5.1.1). */
const groups = [
  'X25519',
  'P-256',
  'P-384',
  'P-521',
  'brainpoolP256r1',
  'brainpoolP384r1',
  'brainpoolP512r1',
].join(':');

/** @throws the system's error if the address cannot be had */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const { identity, limits, measures, log } = options;
  const server = createServer({
    ...contextOf(identity),
    requestCert: true,
    // `admit` refuses instead: Node would destroy the socket without saying whose it was and why.
    rejectUnauthorized: false,
    handshakeTimeout: limits.handshakeSeconds * 1000,
    noDelay: true, // an acknowledgement must not wait for the next one
  });
  const handshakes = new Handshakes(limits, options.monotonicMs ?? (() => performance.now()));
  let connections = 0;
  const closed = (): void => void connections--;
  const refusal = (address: string): RefusalReason | undefined =>
    connections >= limits.connectionsMax ? 'connections_max' : handshakes.refusal(address);
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    measures.refusals.inc({ reason: 'tls' });
    const detail = error.code === undefined ? error.message : `${error.code}: ${error.message}`;
    log.warn({ address: socket.remoteAddress, reason: 'tls', detail }, 'connection.refused');
    socket.destroy();
  });
  // In place of Node's own listener, so that no TLS socket is made for one that is refused.
  const begin = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress;
    const reason = refusal(address ?? '');
    if (reason !== undefined) {
      measures.refusals.inc({ reason });
      log.warn({ address, reason }, 'connection.refused');
      socket.destroy();
      return;
    }
    begin.forEach((listener) => listener.call(server, socket));
    handshakes.begin(socket);
  });
  server.on('secureConnection', (socket) => {
    handshakes.end(socket);
    connections++;
    socket.once('close', closed);
    admit(socket, options, connections <= limits.connectionsMax);
  });
  await listen(server, options);
  return {
    port: (server.address() as AddressInfo).port,
    reload: (renewed) => {
      // With it go the keys of the session tickets: nobody resumes what the old roots let in.
      server.setSecureContext(contextOf(renewed));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // Those that have not shown who they are yet would otherwise hold up the end until their time is over.
        handshakes.destroy();
      }),
  };
}

function contextOf(identity: TlsIdentity): SecureContextOptions {
  return {
    ...tlsKeyOptions(identity),
    cert: identity.chainPem,
    ca: identity.rootsPem, // pinned: the operating system's trust store is never consulted
    minVersion: 'TLSv1.2',
    ciphers,
    honorCipherOrder: true,
    ecdhCurve: groups,
  };
}

function admit(
  socket: TLSSocket,
  { verifier, measures, log, onPeer }: ListenerOptions,
  isRoom: boolean,
): void {
  const address = socket.remoteAddress;
  // Until a connection takes it over, an error must not end the process.
  socket.on('error', (error) => log.debug({ address, detail: error.message }, 'socket.failed'));
  const refuse = (reason: RefusalReason, detail?: string): void => {
    measures.refusals.inc({ reason });
    log.warn({ identity: claimedName(socket), address, reason, detail }, 'connection.refused');
    socket.destroy();
  };
  if (!isRoom) {
    refuse('connections_max'); // it came while there was room
    return;
  }
  if (!isForVerifier(socket)) {
    // OpenSSL's own judgement of the chain; in the field stands its code, whatever the type says.
    refuse('tls', String(socket.authorizationError));
    return;
  }
  let peer: Peer;
  try {
    peer = verifier.verify(socket);
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    refuse(error.code, error.message);
    return;
  }
  if (!onPeer(socket, peer)) refuse('unavailable');
}

function listen(
  server: Server,
  { endpoint: { host, port }, reusePort = false }: Pick<ListenerOptions, 'endpoint' | 'reusePort'>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, reusePort }, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}
