/**
 * An ECDSA key on a PKCS #11 token: a smart card, an HSM, SoftHSM. It signs through `pkcs11-tool` of OpenSC in a process of
 * its own, so no native add-on has to be compiled, and a vendor's library cannot take us down.
 */
import { spawnSync } from 'node:child_process';
import { createPublicKey, hash, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CurveName } from './certificate.ts';
import { PkiError } from './errors.ts';
import { signatureAlgorithmFor } from './signature.ts';

export interface TokenKey {
  /** RFC 7512, with the key's id. */
  readonly uri: string;
  readonly publicKey: KeyObject;
  /** ECDSA with the hash of the key's curve. @throws PkiError `pki.token` */
  sign(data: Uint8Array): Buffer;
}

/** Where keys are. */
export interface Token {
  readonly label: string;
  /** The PKCS #11 library of the token's maker. */
  readonly modulePath: string;
}

const program = 'pkcs11-tool';
/** A card is slow, and a person may have to touch it. */
const timeoutMs = 60_000;
const keyIdBytes = 16;
const pinVariable = 'PLOMBE_TOKEN_PIN';
const uriPattern = /^pkcs11:([^?]*)\?(.*)$/;
const openScCurves: Readonly<Record<CurveName, string>> = {
  'P-256': 'prime256v1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
  brainpoolP256r1: 'brainpoolP256r1',
  brainpoolP384r1: 'brainpoolP384r1',
  brainpoolP512r1: 'brainpoolP512r1',
};

/** @param text - `pkcs11:token=LABEL?module-path=FILE`, percent-encoded @throws PkiError `pki.token` */
export function parseTokenUri(text: string): Token & { readonly id: Buffer | undefined } {
  const [, path_ = '', query = ''] = uriPattern.exec(text.trim()) ?? [];
  const attributes = new Map([...path_.split(';'), ...query.split('&')].map(attributeOf));
  const [label, modulePath] = [attributes.get('token'), attributes.get('module-path')];
  if (label === undefined || modulePath === undefined) {
    throw new PkiError('pki.token', 'wanted pkcs11:token=LABEL?module-path=FILE (RFC 7512)');
  }
  const id = attributes.get('id');
  return { label, modulePath, id: id === undefined ? undefined : Buffer.from(id, 'latin1') };
}

export function isTokenUri(text: string): boolean {
  return text.startsWith('pkcs11:');
}

/** Makes a key pair on the token. @throws PkiError `pki.token` */
export function createTokenKey(
  token: Token,
  pin: string | undefined,
  curve: CurveName,
  label: string,
): TokenKey {
  const id = randomBytes(keyIdBytes);
  run(token, pin, [
    '--keypairgen',
    '--key-type',
    `EC:${openScCurves[curve]}`,
    '--id',
    id.toString('hex'),
    '--label',
    label,
    '--usage-sign',
  ]);
  return openTokenKey(uriOf(token, id), pin);
}

/** @param uri - as `TokenKey` has it @throws PkiError `pki.token` */
export function openTokenKey(uri: string, pin: string | undefined): TokenKey {
  const { id, ...token } = parseTokenUri(uri);
  if (id === undefined) throw new PkiError('pki.token', 'the URI names no key: it has no id');
  const select = ['--id', id.toString('hex')];
  const der = withFiles((file) => {
    run(token, undefined, ['--read-object', '--type', 'pubkey', ...select, '--output-file', file('public')]);
    return readFileSync(file('public'));
  });
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch (cause) {
    throw new PkiError('pki.token', `token ${token.label} gave no public key`, { cause });
  }
  return {
    uri: uriOf(token, id),
    publicKey,
    sign: (data) =>
      withFiles((file) => {
        // The digest alone goes to the token: all that sign, sign digests, and few hash as well.
        writeFileSync(file('digest'), hash(signatureAlgorithmFor(publicKey).hash, data, 'buffer'));
        const files = ['--input-file', file('digest'), '--output-file', file('signature')];
        run(token, pin, [
          '--sign',
          '--mechanism',
          'ECDSA',
          '--signature-format',
          'openssl',
          ...select,
          ...files,
        ]);
        return readFileSync(file('signature'));
      }),
  };
}

function run({ label, modulePath }: Token, pin: string | undefined, args: readonly string[]): void {
  // The PIN goes by the environment: everybody on a machine can read arguments.
  const login = pin === undefined ? [] : ['--login', '--pin', `env:${pinVariable}`];
  const { status, error, stderr } = spawnSync(
    program,
    ['--module', modulePath, '--token-label', label, ...login, ...args],
    {
      encoding: 'utf8',
      env: { ...process.env, ...(pin === undefined ? {} : { [pinVariable]: pin }) },
      timeout: timeoutMs,
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  if (error !== undefined) {
    throw new PkiError('pki.token', `cannot run ${program} (of OpenSC): ${error.message}`, { cause: error });
  }
  if (status === 0) return;
  const lines = stderr.trim().split('\n');
  const reason = lines.find((line) => line.startsWith('error:')) ?? lines[0] ?? '';
  throw new PkiError('pki.token', `token ${JSON.stringify(label)} refused ${args[0] ?? ''}: ${reason}`);
}

function withFiles<T>(work: (file: (name: string) => string) => T): T {
  const folder = mkdtempSync(path.join(tmpdir(), 'plombe-token-'));
  try {
    return work((name) => path.join(folder, name));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function uriOf({ label, modulePath }: Token, id: Buffer): string {
  const octets = id.toString('hex').replaceAll(/../g, '%$&');
  return `pkcs11:token=${encodeURIComponent(label)};id=${octets}?module-path=${modulePath.split('/').map(encodeURIComponent).join('/')}`;
}

function attributeOf(text: string): [name: string, value: string] {
  const [name = '', value = ''] = text.split('=');
  // An id is octets, not UTF-8.
  return [name, name === 'id' ? unescapeOctets(value) : decodeURIComponent(value)];
}

function unescapeOctets(text: string): string {
  return text.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCodePoint(parseInt(hex, 16)));
}
