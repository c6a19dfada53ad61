/** The certificates that the peer of a TLS connection sent, as the verifier of paths takes them. */
import { hash } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Certificate } from './certificate.ts';
import { parseCertificate, parsePresentedLeaf } from './certificate.ts';
import { PkiError } from './errors.ts';
import { chainLengthMax } from '../domain/limits.ts';

/** CAs stand above many peers: each is parsed once, and its memory shared. Public values, by their octets. */
const authorities = new Map<string, Certificate>();
const authoritiesMax = 1_000;

/** @returns the same object for the same octets, as long as it is kept @throws PkiError of a malformed one */
export function parseAuthority(der: Buffer): Certificate {
  const key = hash('sha256', der, 'base64');
  let authority = authorities.get(key);
  if (authority === undefined) {
    authority = parseCertificate(der);
    const [oldest] = authorities.keys();
    if (authorities.size >= authoritiesMax && oldest !== undefined) authorities.delete(oldest);
    authorities.set(key, authority);
  }
  return authority;
}

/**
 * Parses what `presentedCertificates` read, here or in another process of ours.
 *
 * @param ders - leaf first
 * @throws PkiError `pki.untrusted` if there is none, `pki.path_length` if too many, or of a malformed one
 */
export function parsePeerChain(ders: readonly Buffer[]): Certificate[] {
  const [leaf, ...authorities] = requireChain(ders);
  return [parsePresentedLeaf(leaf), ...authorities.map(parseAuthority)];
}

/** @throws PkiError `pki.untrusted` if there is none, `pki.path_length` if too many */
export function requireChain(ders: readonly Buffer[]): readonly [Buffer, ...Buffer[]] {
  const [leaf, ...authorities] = ders;
  if (leaf === undefined) throw new PkiError('pki.untrusted', 'the peer sent no certificate');
  if (ders.length > chainLengthMax) {
    throw new PkiError('pki.path_length', `the peer sent more than ${chainLengthMax} certificates`);
  }
  return [leaf, ...authorities];
}

/** @returns the parsed certificates, leaf first @throws PkiError as `parsePeerChain` */
export function peerChain(socket: TLSSocket): Certificate[] {
  return parsePeerChain(presentedCertificates(socket));
}

/**
 * @param socket - after its handshake
 * @returns DER, leaf first; OpenSSL completes the chain with the pinned root where it has one. One more than a chain
 *   may have at most, so that who counts them sees that they are too many
 */
export function presentedCertificates(socket: TLSSocket): Buffer[] {
  const ders: Buffer[] = [];
  let next = socket.getPeerX509Certificate();
  while (next && ders.length <= chainLengthMax) {
    const der = next.raw;
    ders.push(der);
    const issuer: X509Certificate | undefined = next.issuerCertificate;
    // A root is its own issuer, so following it would not end. The names alone do not tell: a customer's own
    // client has the name of the CA that issued it (DESIGN §3).
    next = issuer?.raw.equals(der) === true ? undefined : issuer;
  }
  return ders;
}
