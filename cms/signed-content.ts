/** Content that is signed and not sealed (RFC 5652 §5, id-data), such as a request for certificates. */
import type { Certificate } from '../pki/certificate.ts';
import { parseCertificate } from '../pki/certificate.ts';
import { DerFault, derTag } from '../pki/der.ts';
import { PkiError } from '../pki/errors.ts';
import { chainAbove } from './chain.ts';
import { strictly, writeContentInfo } from './envelope.ts';
import { CmsError, rejected } from './errors.ts';
import { identifies } from './identifier.ts';
import { certificatesMax, signersMax } from './limits.ts';
import { oids } from './oid.ts';
import { ShellReader } from './shell.ts';
import { readSignedData, writeSignedData } from './signed-data.ts';
import type { SignedData } from './signed-data.ts';
import { checkSignatureKey, isSignedBy, makeSignerInfo } from './signer-info.ts';
import type { SignatureKey } from './signer-info.ts';

/** Whose certificates come along, so that a reader needs the root alone. */
export interface ContentSigner extends SignatureKey {
  /** Leaf first, without the root. */
  readonly chain: readonly Certificate[];
}

/** A signature that its key made. Whether the key is anybody's, the verifier of paths says. */
export interface ContentSignature {
  /** Leaf first. */
  readonly chain: readonly [Certificate, ...Certificate[]];
  /** By the signer's clock. */
  readonly signingTimeMs: number;
}

export interface SignedContent {
  readonly content: Buffer;
  /** At least one, in no order; no two by one certificate. */
  readonly signatures: readonly ContentSignature[];
}

/** A few chains and what they vouch for; nobody asks for more than four certificates at once. */
export const signedContentBytesMax = 128 * 1024;

/**
 * @returns ContentInfo, DER
 * @throws CmsError `cms.unsupported` if the certificate is not for signatures, or the key is not its key
 */
export function signContent(content: Uint8Array, signer: ContentSigner, signingTimeMs: number): Buffer {
  return write({ content: Buffer.from(content), certificates: [], signers: [] }, signer, signingTimeMs);
}

/**
 * Adds a signature beside those that are there, over the same content. None of them is verified here.
 *
 * @throws CmsError as `signContent` and `readSignedContent`
 */
export function countersignContent(
  message: Uint8Array,
  signer: ContentSigner,
  signingTimeMs: number,
): Buffer {
  return write(read(message), signer, signingTimeMs);
}

/**
 * Reads a message and verifies all of its signatures by the certificates that came along.
 *
 * @param known - certificates that need not come along
 * @throws CmsError `cms.malformed`, `cms.unsupported`, `cms.untrusted_originator` if the certificate of a signer did not
 *   come along, `cms.rejected` if any signature is not over this content by that key
 */
export function readSignedContent(message: Uint8Array, known: readonly Certificate[] = []): SignedContent {
  const { content, certificates, signers } = read(message);
  const pool = [...certificates.map(parse), ...known];
  const signatures = signers.map((signer) => {
    const leaf = pool.find((certificate) => identifies(signer.identifier, certificate));
    if (leaf === undefined) {
      throw new CmsError('cms.untrusted_originator', 'the certificate of a signer did not come along');
    }
    const { signingTimeMs } = signer;
    if (signingTimeMs === undefined || !isSignedBy(content, signer, leaf)) throw rejected();
    const [, ...above] = chainAbove(leaf, pool);
    return { chain: [leaf, ...above] as const, signingTimeMs };
  });
  if (new Set(signatures.map(({ chain: [leaf] }) => leaf)).size !== signers.length || signers.length === 0) {
    throw new CmsError('cms.malformed', 'not signed content: nobody signed it, or somebody twice');
  }
  return { content, signatures };
}

function read(message: Uint8Array): SignedData {
  if (message.length > signedContentBytesMax) {
    throw new CmsError(
      'cms.malformed',
      `signed content of ${message.length} bytes; at most ${signedContentBytesMax}`,
    );
  }
  return strictly(() => {
    const shell = new ShellReader(Buffer.from(message));
    shell.enter(derTag.sequence, 'content info');
    const contentType = shell.take(derTag.objectIdentifier, 'content type').content;
    if (!contentType.equals(oids.signedData)) throw new DerFault('no SignedData');
    shell.enter(derTag.context0, 'content');
    const signedData = readSignedData(shell, oids.data);
    shell.leave('content');
    shell.leave('content info');
    shell.end('content info');
    return signedData;
  }, 'signed content');
}

function parse(der: Buffer): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new CmsError('cms.malformed', `not signed content: ${cause.message}`, { cause });
  }
}

function write(
  { content, certificates, signers }: SignedData,
  signer: ContentSigner,
  signingTimeMs: number,
): Buffer {
  checkSignatureKey(signer);
  const others = signers.filter(({ identifier }) => !identifies(identifier, signer.certificate));
  const pool = new Map(
    [...certificates, ...signer.chain.map(({ der }) => der)].map((der) => [der.toString('base64'), der]),
  );
  if (others.length >= signersMax || pool.size > certificatesMax) {
    throw new CmsError(
      'cms.unsupported',
      'cannot add a signature: there are too many signers or certificates',
    );
  }
  const added = makeSignerInfo(content, signer, signingTimeMs, undefined, oids.data);
  const message = writeContentInfo(
    oids.signedData,
    writeSignedData({ content, certificates: [...pool.values()], signers: [...others, added] }, oids.data),
  );
  if (message.length <= signedContentBytesMax) return message;
  throw new CmsError(
    'cms.unsupported',
    `signed content of ${message.length} bytes; at most ${signedContentBytesMax}`,
  );
}
