/** An enrolment token: all that a new device needs to ask for its certificates, in one file that works once. */
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { BrokerAddress } from '../domain/enrolment.ts';
import { enrolmentTopic } from '../domain/topic.ts';
import { certificatesFromPem, certificatesToPem } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import { verifyPath } from '../pki/path.ts';
import { privateKeyToPem, readPrivateKey } from '../pki/private-key.ts';
import { EnrolmentError } from './errors.ts';

export interface CertifiedKey {
  readonly key: KeyObject;
  /** Leaf first, without the root. */
  readonly chain: readonly Certificate[];
}

export interface Token {
  /** Whom it invites: a device's path, or a factory name. */
  readonly path: string;
  readonly broker: BrokerAddress;
  /** For connecting and for signing requests, and nothing else. */
  readonly tls: CertifiedKey;
  readonly sig: CertifiedKey;
  readonly roots: { readonly tls: Certificate; readonly e2e: Certificate };
}

const title = 'Plombe enrolment token, version 1';
const sections = ['tls', 'sig', 'tls-root', 'e2e-root'] as const;
type Section = (typeof sections)[number];

/** Of the certificates in it, whichever expires first. */
export function tokenExpiresAtMs({ tls, sig }: Pick<Token, 'tls' | 'sig'>): number {
  return Math.min(...[...tls.chain, ...sig.chain].map(({ notAfterMs }) => notAfterMs));
}

export function writeToken(token: Token): string {
  const { path, broker, tls, sig, roots } = token;
  const keyAndChain = ({ key, chain }: CertifiedKey): string =>
    privateKeyToPem(key) + certificatesToPem(chain);
  const parts: Readonly<Record<Section, string>> = {
    tls: keyAndChain(tls),
    sig: keyAndChain(sig),
    'tls-root': certificatesToPem([roots.tls]),
    'e2e-root': certificatesToPem([roots.e2e]),
  };
  return [
    title,
    'Whoever has this file can enrol as the device below, once. Keep it as you would keep a key.',
    `device: ${path}`,
    `broker: ${hostText(broker.host)}:${broker.port}`,
    `broker name: ${broker.name}`,
    `valid until: ${new Date(tokenExpiresAtMs(token)).toISOString()}`,
    '',
    ...sections.map((section) => `[${section}]\n${parts[section]}`),
  ].join('\n');
}

/**
 * @param text - what `writeToken` wrote
 * @throws EnrolmentError `enrolment.malformed_token`; PkiError of `verifyPath`, such as `pki.expired`
 */
export function readToken(text: string, atMs: number): Token {
  if (!text.startsWith(`${title}\n`)) throw malformed('it does not begin as one');
  const token = fitting(() => parse(text));
  for (const [{ chain }, root, purpose] of [
    [token.tls, token.roots.tls, 'enrolment-client'],
    [token.sig, token.roots.e2e, 'enrolment-signature'],
  ] as const) {
    const { commonName } = verifyPath({ chain, roots: [root], atMs, purpose });
    if (commonName !== token.path) throw malformed(`it is for ${token.path} and has keys of ${commonName}`);
  }
  return token;
}

/** How to connect with a token. */
export function tokenIdentity({ path, tls, roots }: Token): TlsIdentity {
  const [certificate] = tls.chain;
  if (certificate === undefined) throw malformed('it has no certificate for connecting');
  return {
    commonName: path,
    privateKeyPem: privateKeyToPem(tls.key),
    chainPem: certificatesToPem(tls.chain),
    rootsPem: certificatesToPem([roots.tls]),
    certificate,
    roots: [roots.tls],
  };
}

function parse(text: string): Token {
  const [head = '', ...rest] = text.split(/^\[([a-z0-9-]+)\]$/m);
  const bodies = new Map<string, string>();
  for (let at = 0; at + 1 < rest.length; at += 2) bodies.set(rest[at] ?? '', rest[at + 1] ?? '');
  const field = (name: string): string => {
    const found = head.split('\n').find((line) => line.startsWith(`${name}: `));
    if (found === undefined) throw malformed(`it has no "${name}"`);
    return found.slice(name.length + 2).trim();
  };
  const body = (section: Section): string => {
    const found = bodies.get(section);
    if (found === undefined) throw malformed(`it has no [${section}]`);
    return found;
  };
  const path = field('device');
  if (enrolmentTopic(path) === undefined) throw malformed(`${JSON.stringify(path)} is no device`);
  return {
    path,
    broker: { ...address(field('broker')), name: field('broker name') },
    tls: certifiedKey(body('tls')),
    sig: certifiedKey(body('sig')),
    roots: { tls: onlyCertificate(body('tls-root')), e2e: onlyCertificate(body('e2e-root')) },
  };
}

function certifiedKey(pem: string): CertifiedKey {
  const key = readPrivateKey(pem);
  const chain = certificatesFromPem(pem);
  if (chain[0]?.publicKey.equals(createPublicKey(key)) !== true) {
    throw malformed('a key in it is not that of the certificate behind it');
  }
  return { key, chain };
}

function onlyCertificate(pem: string): Certificate {
  const [certificate, another] = certificatesFromPem(pem);
  if (certificate === undefined || another !== undefined)
    throw malformed('a root in it is not one certificate');
  return certificate;
}

function address(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535)
    throw malformed(`${JSON.stringify(text)} is not host:port`);
  return { host: match[1] ?? match[2] ?? '', port };
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** What is wrong with a key or a certificate in it is wrong with the token. */
function fitting<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw malformed(cause.message, { cause });
  }
}

function malformed(why: string, options?: ErrorOptions): EnrolmentError {
  return new EnrolmentError('enrolment.malformed_token', `not an enrolment token: ${why}`, options);
}
