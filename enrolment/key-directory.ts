/**
 * The directory where a device makes its keys, asks for their certificates, and keeps them: as `plombe pki issue` writes
 * it. Every step is on the disk before the next one begins, and is not done again: whenever it is cut off, doing all of
 * it once more ends in the same keys, the same request, and a whole identity.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { readSignedContent, signContent } from '../cms/signed-content.ts';
import type { ContentSigner } from '../cms/signed-content.ts';
import { decodeEnrolmentRequest, encodeEnrolmentRequest } from '../domain/enrolment.ts';
import type { EnrolmentKind, EnrolmentReply, EnrolmentRequest, ForEachKey } from '../domain/enrolment.ts';
import { certificatesToPem, parseCertificate } from '../pki/certificate.ts';
import type { Certificate, CurveName } from '../pki/certificate.ts';
import { verifyPath } from '../pki/path.ts';
import type { Purpose } from '../pki/path.ts';
import { inFile } from '../pki/pem-file.ts';
import { privateKeyToPem, readPrivateKey } from '../pki/private-key.ts';
import { createRequest, parseRequest } from '../pki/request.ts';
import type { SigningKey } from '../pki/signing-key.ts';
import { createTokenKey, isTokenUri, openTokenKey } from '../pki/token-key.ts';
import type { Token } from '../pki/token-key.ts';
import { syncFolder, writeFileAtomically } from '../runtime/files.ts';
import { EnrolmentError } from './errors.ts';

export interface RequestTerms {
  readonly kind: EnrolmentKind;
  /** Who it is to be. */
  readonly path: string;
  /** Whose word the request is: an invitation, or the identity that the device has. */
  readonly signer: ContentSigner;
  readonly curves: ForEachKey<CurveName>;
  readonly agentVersion: string;
  /** Encrypts the new keys. */
  readonly passphrase?: string | undefined;
  /** Where keys are made, instead of in the directory; the passphrase is the PIN. */
  readonly tokens?: KeyTokens;
  readonly transfer?: string;
  readonly nowMs: number;
}

/** A request that is on the disk, so that the same one is sent again. */
export interface PendingRequest {
  readonly request: EnrolmentRequest;
  /** Signed: what is sent. */
  readonly message: Buffer;
}

export interface IdentityRoots {
  readonly tls: readonly Certificate[];
  readonly e2e: readonly Certificate[];
}

/** One for key agreement cannot be on a token. */
export interface KeyTokens {
  readonly tls?: Token | undefined;
  readonly sig?: Token | undefined;
}

const keyNames = ['tls', 'sig', 'enc'] as const;
type KeyName = (typeof keyNames)[number];
const requestFile = 'enrolment.request';
const secretMode = 0o600;
const directoryMode = 0o700;
const purposes: ForEachKey<Purpose> = { tls: 'tls-client', sig: 'signature', enc: 'key-agreement' };

/** Whether a directory holds a whole identity: the file that is written last is there. */
export function isEnrolled(directory: string): boolean {
  return existsSync(certificateFile(directory, keyNames[2]));
}

/** @returns the request that a directory waits for an answer to */
export function pendingRequest(directory: string): PendingRequest | undefined {
  const file = path.join(directory, requestFile);
  if (!existsSync(file)) return undefined;
  const message = readFileSync(file);
  return { request: decodeEnrolmentRequest(readSignedContent(message).content), message };
}

/**
 * Makes three keys and a request for their certificates, as far as they are not there yet.
 *
 * @throws EnrolmentError `enrolment.wrong_directory` if another identity is asked for there, or already there
 */
export function prepareRequest(directory: string, terms: RequestTerms): PendingRequest {
  const pending = pendingRequest(directory);
  if (pending !== undefined) {
    const { kind, path: name } = pending.request;
    if (kind === terms.kind && name === terms.path) return pending;
    throw new EnrolmentError(
      'enrolment.wrong_directory',
      `${directory}: a request of ${name} waits for its answer there`,
    );
  }
  if (keyNames.some((name) => existsSync(certificateFile(directory, name)))) {
    throw new EnrolmentError('enrolment.wrong_directory', `${directory}: an identity is there already`);
  }
  mkdirSync(directory, { recursive: true, mode: directoryMode });
  const { kind, signer, agentVersion, transfer, nowMs } = terms;
  const request = {
    id: randomUUID(),
    kind,
    path: terms.path,
    requests: {
      tls: createRequest(terms.path, ownKey(directory, 'tls', terms)),
      sig: createRequest(terms.path, ownKey(directory, 'sig', terms)),
      enc: createRequest(terms.path, ownKey(directory, 'enc', terms)),
    },
    requestedAtMs: nowMs,
    agentVersion,
    ...(transfer === undefined ? {} : { transfer }),
  };
  const message = signContent(encodeEnrolmentRequest(request), signer, nowMs);
  writeFileAtomically(path.join(directory, requestFile), message);
  return { request, message };
}

/**
 * Checks the certificates of an answer against what was asked for, and writes them.
 *
 * @param roots - pinned; the certificates must lead to them
 * @returns the name that was given, which a factory name does not know before
 * @throws EnrolmentError `enrolment.wrong_reply`; PkiError of `verifyPath`
 */
export function installCertificates(
  directory: string,
  { request }: PendingRequest,
  { chains }: EnrolmentReply,
  { roots, nowMs }: { readonly roots: IdentityRoots; readonly nowMs: number },
): string {
  if (chains === undefined)
    throw new EnrolmentError('enrolment.wrong_reply', 'the answer has no certificates');
  const names = new Set<string>();
  const verified = keyNames.map((name) => {
    const chain = chains[name].map(parseCertificate);
    const question = {
      chain,
      roots: name === 'tls' ? roots.tls : roots.e2e,
      atMs: nowMs,
      purpose: purposes[name],
    };
    const identity = verifyPath(question);
    if (!identity.certificate.publicKey.equals(parseRequest(request.requests[name]).publicKey)) {
      throw new EnrolmentError(
        'enrolment.wrong_reply',
        `the ${name} certificate is not for the key that was made here`,
      );
    }
    if (identity.kind !== 'device') {
      throw new EnrolmentError('enrolment.wrong_reply', `${identity.commonName} is no device`);
    }
    names.add(identity.commonName);
    return { name, chain: identity.chain };
  });
  const [given = '', another] = names;
  if (another !== undefined)
    throw new EnrolmentError('enrolment.wrong_reply', 'the certificates name two devices');
  if (given !== request.path && !request.path.startsWith('vendor-')) {
    throw new EnrolmentError(
      'enrolment.wrong_reply',
      `the certificates are for ${given}, not for ${request.path}`,
    );
  }
  writeFileAtomically(path.join(directory, 'tls-root.crt.pem'), certificatesToPem(roots.tls));
  writeFileAtomically(path.join(directory, 'e2e-root.crt.pem'), certificatesToPem(roots.e2e));
  for (const { name, chain } of verified) {
    writeFileAtomically(path.join(directory, `${name}.crt.pem`), certificatesToPem(chain.slice(0, 1)));
    writeFileAtomically(certificateFile(directory, name), certificatesToPem(chain));
  }
  forgetRequest(directory);
  return given;
}

/** Gives a request up, such as one that was refused; its keys stay for the next one. */
export function forgetRequest(directory: string): void {
  rmSync(path.join(directory, requestFile), { force: true });
  syncFolder(directory);
}

function certificateFile(directory: string, name: KeyName): string {
  return path.join(directory, `${name}.chain.pem`);
}

function ownKey(
  directory: string,
  name: KeyName,
  { path: commonName, curves, passphrase, tokens }: RequestTerms,
): SigningKey {
  const file = path.join(directory, `${name}.key.pem`);
  if (existsSync(file)) {
    const text = readFileSync(file, 'utf8');
    return inFile(file, () =>
      isTokenUri(text) ? openTokenKey(text, passphrase) : readPrivateKey(text, passphrase),
    );
  }
  const token = name === 'enc' ? undefined : tokens?.[name];
  if (token !== undefined) {
    const key = createTokenKey(token, passphrase, curves[name], commonName);
    writeFileAtomically(file, `${key.uri}\n`, secretMode);
    return key;
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: curves[name] });
  writeFileAtomically(file, privateKeyToPem(privateKey, passphrase), secretMode);
  return privateKey;
}
