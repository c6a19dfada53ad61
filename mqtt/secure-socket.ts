/** A mutual-TLS connection to a broker whose name we know. */
import { connect as connectTls, createSecureContext } from 'node:tls';
import type { SecureContext, TLSSocket } from 'node:tls';
import { isIP } from 'node:net';
import type { VerifiedPath } from '../pki/path.ts';
import { verifyPath } from '../pki/path.ts';
import { peerChain } from '../pki/peer-chain.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import { tlsKeyOptions } from '../pki/tls-key.ts';
import type { Endpoint } from '../runtime/config.ts';
import { LinkError } from './link-error.ts';

export interface SecureSocketOptions {
  readonly broker: Endpoint;
  /** The common name that the broker's certificate must carry; any of them if there are several. */
  readonly brokerName: string | readonly string[];
  readonly identity: TlsIdentity;
  readonly connectTimeoutMs: number;
  readonly nowMs: number;
  /** @throws PkiError if that broker's certificate is revoked */
  readonly requireUnrevoked?: ((broker: VerifiedPath) => void) | undefined;
  /** Kept by the caller for each broker; filled in here. */
  readonly resumption?: Resumption;
}

/**
 * What a later connection resumes: a handshake without certificates. The session is only known to the peer that had
 * shown its chain when it was made, and that chain is verified again each time, for it may have expired.
 */
export interface Resumption {
  session: Buffer | undefined;
  chain: readonly Certificate[];
}

export interface SecureSocket {
  readonly socket: TLSSocket;
  /** Whose certificate may be revoked while the connection stands. */
  readonly peer: VerifiedPath;
}

/**
 * The reference identity is the broker's place in the namespace, not its host name: a customer's CA can make a
 * certificate for any host name, but none for a name outside its subtree (DESIGN §3, path discipline).
 *
 * @throws LinkError `mqtt.untrusted_broker`; PkiError; or the system's error
 */
export function openSecureSocket(options: SecureSocketOptions): Promise<SecureSocket> {
  const { broker, identity, resumption } = options;
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host: broker.host,
      port: broker.port,
      ...(isIP(broker.host) === 0 ? { servername: broker.host } : {}),
      secureContext: contextOf(identity),
      ...(resumption?.session === undefined ? {} : { session: resumption.session }),
      checkServerIdentity: () => undefined, // checked below, by name in the namespace
    });
    const timer = setTimeout(
      () => socket.destroy(new Error(`no TLS session within ${options.connectTimeoutMs} ms`)),
      options.connectTimeoutMs,
    );
    const fail = (error: Error): void => {
      clearTimeout(timer);
      if (resumption !== undefined) resumption.session = undefined; // the next attempt owes nothing to this one
      socket.destroy();
      reject(error);
    };
    socket.once('error', fail);
    // With TLS 1.3 tickets come after the handshake, each for one use (RFC 8446 §C.4).
    socket.on('session', (session) => {
      if (resumption !== undefined) resumption.session = session;
    });
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.removeListener('error', fail);
      let peer: VerifiedPath;
      try {
        peer = requireBroker(socket, options);
      } catch (error) {
        socket.destroy();
        if (resumption !== undefined) resumption.session = undefined;
        return reject(error instanceof Error ? error : new Error(String(error)));
      }
      socket.setNoDelay(true);
      return resolve({ socket, peer });
    });
  });
}

/** By identity: what OpenSSL makes of one is large and outside of the heap, and a broker may be away for days. */
const contexts = new WeakMap<TlsIdentity, SecureContext>();

function contextOf(identity: TlsIdentity): SecureContext {
  const known = contexts.get(identity);
  if (known !== undefined) return known;
  const context = createSecureContext({
    ...tlsKeyOptions(identity),
    cert: identity.chainPem,
    ca: identity.rootsPem, // pinned: the operating system's trust store is never consulted
    minVersion: 'TLSv1.2',
  });
  contexts.set(identity, context);
  return context;
}

function requireBroker(socket: TLSSocket, options: SecureSocketOptions): VerifiedPath {
  const { resumption } = options;
  const isResumed = socket.isSessionReused();
  const chain = isResumed && resumption !== undefined ? resumption.chain : peerChain(socket);
  if (resumption !== undefined) resumption.chain = chain;
  const broker = verifyPath({
    chain,
    roots: options.identity.roots,
    atMs: options.nowMs,
    purpose: 'tls-server',
  });
  const { commonName } = broker;
  const wanted = [options.brokerName].flat();
  if (!wanted.includes(commonName)) {
    throw new LinkError(
      'mqtt.untrusted_broker',
      `the broker at ${options.broker.host}:${options.broker.port} is "${commonName}", not "${wanted.join('" or "')}"`,
    );
  }
  options.requireUnrevoked?.(broker);
  return broker;
}
