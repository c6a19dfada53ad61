/** A mutual-TLS connection to a broker whose name we know. */
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { isIP } from 'node:net';
import { verifyPath } from '../pki/path.ts';
import { peerChain } from '../pki/peer-chain.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import type { Endpoint } from '../runtime/config.ts';
import { LinkError } from './link-error.ts';

export interface SecureSocketOptions {
  readonly broker: Endpoint;
  /** The common name that the broker's certificate must carry; any of them if there are several. */
  readonly brokerName: string | readonly string[];
  readonly identity: TlsIdentity;
  readonly connectTimeoutMs: number;
  readonly nowMs: number;
}

/**
 * The reference identity is the broker's place in the namespace, not its host name: a customer's CA can make a
 * certificate for any host name, but none for a name outside its subtree (DESIGN §3, path discipline).
 *
 * @throws LinkError `mqtt.untrusted_broker`; PkiError; or the system's error
 */
export function openSecureSocket(options: SecureSocketOptions): Promise<TLSSocket> {
  const { broker, identity } = options;
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host: broker.host,
      port: broker.port,
      ...(isIP(broker.host) === 0 ? { servername: broker.host } : {}),
      key: identity.privateKeyPem,
      cert: identity.chainPem,
      ca: identity.rootsPem, // pinned: the operating system's trust store is never consulted
      minVersion: 'TLSv1.2',
      checkServerIdentity: () => undefined, // checked below, by name in the namespace
    });
    const timer = setTimeout(
      () => socket.destroy(new Error(`no TLS session within ${options.connectTimeoutMs} ms`)),
      options.connectTimeoutMs,
    );
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.removeListener('error', fail);
      try {
        requireBroker(socket, options);
      } catch (error) {
        socket.destroy();
        return reject(error instanceof Error ? error : new Error(String(error)));
      }
      socket.setNoDelay(true);
      return resolve(socket);
    });
  });
}

function requireBroker(socket: TLSSocket, options: SecureSocketOptions): void {
  const { commonName } = verifyPath({
    chain: peerChain(socket),
    roots: options.identity.roots,
    atMs: options.nowMs,
    purpose: 'tls-server',
  });
  const wanted = [options.brokerName].flat();
  if (!wanted.includes(commonName)) {
    throw new LinkError(
      'mqtt.untrusted_broker',
      `the broker at ${options.broker.host}:${options.broker.port} is "${commonName}", not "${wanted.join('" or "')}"`,
    );
  }
}
