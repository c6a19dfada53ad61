/**
 * The one authenticated attribute of ours: what an envelope is, and where it belongs.
 *
 *     EnvelopeInfo ::= SEQUENCE {
 *       version      INTEGER { v1(1) },
 *       topic        UTF8String (SIZE (1..256)),
 *       sequence     INTEGER (0..9007199254740991),
 *       previous     [0] IMPLICIT OCTET STRING (SIZE (32)) OPTIONAL,  -- SHA-256 of the envelope before
 *       originator   OCTET STRING (SIZE (32 | 64 | 96 | 128 | 160 | 192)),
 *                    -- SHA-256 of each ENC certificate that the originator used, ascending
 *       contentType  INTEGER { octets(0), senml-cbor(1), senml-json(2), command-cbor(3) },
 *       encoding     INTEGER { identity(0), deflate(1) },
 *       commitment   OCTET STRING (SIZE (32)) }         -- see commitment.ts
 */
import { topicBytesMax } from '../domain/limits.ts';
import { curveNames } from '../pki/certificate.ts';
import { DerFault, derTag, readNaturalOctets, readSmallInteger, requireTag } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { commitmentBytes } from './commitment.ts';
import type { ContentEncoding } from './content-encoding.ts';
import { derElement, derInteger, derOctetString, derSequence, derUtf8String } from '../pki/der-writer.ts';
import { derSafeInteger } from './der-writer.ts';

/** What the content is, once decrypted and decompressed. */
export type ContentType = 'octets' | 'senml+cbor' | 'senml+json' | 'command+cbor';

export interface EnvelopeInfo {
  readonly topic: string;
  readonly sequence: number;
  readonly previousDigest: Buffer | undefined;
  /** One for each curve that the envelope's recipients are on; ascending. */
  readonly originatorHashes: readonly Buffer[];
  readonly contentType: ContentType;
  readonly encoding: ContentEncoding;
  readonly commitment: Buffer;
}

const version = 1;
const hashBytes = 32;
// One certificate for each curve.
const originatorsMax = curveNames.length;
const previousTag = 0x80;
// The position in each list is the number on the wire: append only.
const contentTypes: readonly ContentType[] = ['octets', 'senml+cbor', 'senml+json', 'command+cbor'];
const encodings: readonly ContentEncoding[] = ['identity', 'deflate'];

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function writeEnvelopeInfo(info: EnvelopeInfo): Buffer {
  return derSequence(
    derInteger(version),
    derUtf8String(info.topic),
    derSafeInteger(info.sequence),
    ...(info.previousDigest === undefined ? [] : [derElement(previousTag, info.previousDigest)]),
    derOctetString(Buffer.concat(info.originatorHashes.toSorted((a, b) => a.compare(b)))),
    derInteger(contentTypes.indexOf(info.contentType)),
    derInteger(encodings.indexOf(info.encoding)),
    derOctetString(info.commitment),
  );
}

export function readEnvelopeInfo(value: DerElement): EnvelopeInfo {
  const what = 'envelope info';
  const fields = requireTag(value, derTag.sequence, what).inside();
  if (readSmallInteger(fields.take(derTag.integer, what), what) !== version) {
    throw new DerFault(`${what}: not version ${version}`);
  }
  const topic = readText(fields.take(derTag.utf8String, 'topic').content);
  const sequenceNumber = readSequence(fields.take(derTag.integer, 'sequence number'));
  const previous = fields.takeOptional(previousTag);
  const info: EnvelopeInfo = {
    topic,
    sequence: sequenceNumber,
    previousDigest: previous === undefined ? undefined : readOctets(previous, hashBytes, 'previous envelope'),
    originatorHashes: readHashes(fields.take(derTag.octetString, 'originator').content, 'originator'),
    contentType: readCode(fields.take(derTag.integer, 'content type'), contentTypes, 'content type'),
    encoding: readCode(fields.take(derTag.integer, 'encoding'), encodings, 'encoding'),
    commitment: readOctets(fields.take(derTag.octetString, 'commitment'), commitmentBytes, 'commitment'),
  };
  fields.end(what);
  return info;
}

function readText(octets: Buffer): string {
  if (octets.length === 0 || octets.length > topicBytesMax) {
    throw new DerFault(`topic: ${octets.length} octets`);
  }
  try {
    return utf8.decode(octets);
  } catch {
    throw new DerFault('topic: not UTF-8');
  }
}

function readSequence(found: DerElement): number {
  const octets = readNaturalOctets(found, 'sequence number');
  const value = octets.length > 8 ? Infinity : Number(`0x${octets.toString('hex')}`);
  if (!Number.isSafeInteger(value)) throw new DerFault('sequence number: above 2^53 - 1');
  return value;
}

function readOctets(found: DerElement, bytes: number, what: string): Buffer {
  if (found.content.length !== bytes)
    throw new DerFault(`${what}: ${found.content.length} octets, not ${bytes}`);
  return found.content;
}

/** Each of them once, in one order, so that there is one way to write them. */
function readHashes(octets: Buffer, what: string): readonly Buffer[] {
  const count = octets.length / hashBytes;
  if (!Number.isInteger(count) || count < 1 || count > originatorsMax) {
    throw new DerFault(`${what}: ${octets.length} octets, not 1 to ${originatorsMax} hashes`);
  }
  const hashes = Array.from({ length: count }, (_, index) =>
    octets.subarray(index * hashBytes, (index + 1) * hashBytes),
  );
  const isAscending = hashes.every((hash, index) => {
    const next = hashes[index + 1];
    return next === undefined || hash.compare(next) < 0;
  });
  if (!isAscending) throw new DerFault(`${what}: hashes that are not in order`);
  return hashes;
}

function readCode<Name>(found: DerElement, list: readonly Name[], what: string): Name {
  const name = list[readSmallInteger(found, what)];
  if (name === undefined) throw new DerFault(`${what}: a code that this version does not know`);
  return name;
}
