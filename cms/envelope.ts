/** Reads an envelope's structure, without any key: the first step of opening, inspecting and countersigning. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { envelopeBytesMax } from '../domain/limits.ts';
import { DerFault, derTag } from '../pki/der.ts';
import { readAuthEnvelopedData } from './auth-enveloped.ts';
import type { AuthEnvelopedData } from './auth-enveloped.ts';
import { derSequence } from '../pki/der-writer.ts';
import { derExplicit, derOid } from './der-writer.ts';
import { CmsError } from './errors.ts';
import { fileEnvelopeBytesMax } from './limits.ts';
import { oids } from './oid.ts';
import { ShellReader } from './shell.ts';
import { readSignedData } from './signed-data.ts';
import type { SignedData } from './signed-data.ts';

export interface Envelope {
  /** Undefined for a bare AuthEnvelopedData. */
  readonly signedData: SignedData | undefined;
  readonly authEnveloped: AuthEnvelopedData;
  /** The AuthEnvelopedData as it came: what signatures and digests are over. */
  readonly encoded: Buffer;
}

export interface EnvelopeBound {
  /** Default: what brokers carry, as in `domain/limits.ts`; `fileEnvelopeBytesMax` at most. */
  readonly envelopeBytesMax?: number;
}

const contentTag = 0xa0;

/**
 * @param bytes - `ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, content [0] EXPLICIT ANY }` (RFC 5652 §3);
 *   the result refers to them, so they must not change
 * @throws CmsError `cms.malformed`, `cms.unsupported`; `cms.rejected` for a nonce or tag of another length than ours
 */
export function readEnvelope(bytes: Uint8Array, bound: EnvelopeBound = {}): Envelope {
  const bytesMax = bytesMaxOf(bound);
  if (bytes.length > bytesMax) {
    throw new CmsError('cms.malformed', `an envelope of ${bytes.length} bytes; at most ${bytesMax}`);
  }
  return strictly(() => readContentInfo(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)));
}

/**
 * The digest that the next envelope of the same originator refers to, and that ledgers and replay checks go by.
 *
 * @returns SHA-256 of the AuthEnvelopedData as transmitted, which stays the same when a signature is added
 * @throws CmsError as `readEnvelope`
 */
export function envelopeDigest(bytes: Uint8Array, bound: EnvelopeBound = {}): Buffer {
  return digestOf(readEnvelope(bytes, bound));
}

/** The bound that `bound` means. */
export function bytesMaxOf({ envelopeBytesMax: bytesMax = envelopeBytesMax }: EnvelopeBound): number {
  assert.ok(bytesMax <= fileEnvelopeBytesMax, `a bound of ${bytesMax} bytes`);
  return bytesMax;
}

export function digestOf({ encoded }: Pick<Envelope, 'encoded'>): Buffer {
  return hash('sha256', encoded, 'buffer');
}

/** Wraps SignedData or AuthEnvelopedData for transport. */
export function writeContentInfo(contentType: Buffer, content: Buffer): Buffer {
  return derSequence(derOid(contentType), derExplicit(0, content));
}

/** Runs a reader; what it finds wrong with the bytes becomes `cms.malformed`. */
export function strictly<Result>(read: () => Result, what = 'an envelope'): Result {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof DerFault)) throw cause;
    throw new CmsError('cms.malformed', `not ${what}: ${cause.message}`, { cause });
  }
}

function readContentInfo(bytes: Buffer): Envelope {
  const shell = new ShellReader(bytes);
  shell.enter(derTag.sequence, 'content info');
  const contentType = shell.take(derTag.objectIdentifier, 'content type').content;
  const isSigned = contentType.equals(oids.signedData);
  if (!isSigned && !contentType.equals(oids.authEnvelopedData)) {
    throw new DerFault('neither SignedData nor AuthEnvelopedData');
  }
  shell.enter(contentTag, 'content');
  const envelope = isSigned ? readSigned(shell) : readBare(shell, bytes);
  shell.leave('content');
  shell.leave('content info');
  shell.end('envelope');
  return envelope;
}

function readSigned(shell: ShellReader): Envelope {
  const signedData = readSignedData(shell);
  const inner = new ShellReader(signedData.content);
  const authEnveloped = readAuthEnvelopedData(inner);
  inner.end('encapsulated content');
  return { signedData, authEnveloped, encoded: signedData.content };
}

function readBare(shell: ShellReader, bytes: Buffer): Envelope {
  const start = shell.offset;
  const authEnveloped = readAuthEnvelopedData(shell);
  return { signedData: undefined, authEnveloped, encoded: bytes.subarray(start, shell.offset) };
}
