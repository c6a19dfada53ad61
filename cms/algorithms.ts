/** Which algorithms an envelope may name for the key agreement, the key wrap and the content. */
import { derTag, readSmallInteger } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import { derAlgorithm, derOid } from './der-writer.ts';
import { CmsError, rejected } from './errors.ts';
import { nonceBytes, tagBytes } from './gcm.ts';
import type { KeyBytes } from './key-wrap.ts';
import { oidName, oids, oidText } from './oid.ts';
import type { OidName } from './oid.ts';
import type { HashName, Suite } from './suite.ts';

export interface AgreementAlgorithm {
  /** `ecdh` is ephemeral-static and names no originator. */
  readonly scheme: 'ecmqv' | 'ecdh';
  readonly hash: HashName;
}

export interface KeyWrapAlgorithm {
  readonly keyBytes: KeyBytes;
  /** The AlgorithmIdentifier as it came, for SharedInfo. */
  readonly der: Buffer;
}

export interface ContentAlgorithm {
  readonly name: string;
  readonly keyBytes: KeyBytes;
  readonly nonce: Buffer;
}

const agreements: Partial<Readonly<Record<OidName, AgreementAlgorithm>>> = {
  mqvSha1: { scheme: 'ecmqv', hash: 'sha1' },
  mqvSha224: { scheme: 'ecmqv', hash: 'sha224' },
  mqvSha256: { scheme: 'ecmqv', hash: 'sha256' },
  mqvSha384: { scheme: 'ecmqv', hash: 'sha384' },
  mqvSha512: { scheme: 'ecmqv', hash: 'sha512' },
  stdDhSha1: { scheme: 'ecdh', hash: 'sha1' },
  stdDhSha224: { scheme: 'ecdh', hash: 'sha224' },
  stdDhSha256: { scheme: 'ecdh', hash: 'sha256' },
  stdDhSha384: { scheme: 'ecdh', hash: 'sha384' },
  stdDhSha512: { scheme: 'ecdh', hash: 'sha512' },
};
const keyWraps: Partial<Readonly<Record<OidName, KeyBytes>>> = {
  aes128Wrap: 16,
  aes192Wrap: 24,
  aes256Wrap: 32,
};
const contents: Partial<Readonly<Record<OidName, { name: string; keyBytes: KeyBytes }>>> = {
  aes128Gcm: { name: 'AES-128-GCM', keyBytes: 16 },
  aes192Gcm: { name: 'AES-192-GCM', keyBytes: 24 },
  aes256Gcm: { name: 'AES-256-GCM', keyBytes: 32 },
};

/** RFC 3565 §4.1: the parameters of an AES key wrap are absent. */
export const keyWrapIdentifiers: Readonly<Record<KeyBytes, Buffer>> = {
  16: derAlgorithm(oids.aes128Wrap),
  24: derAlgorithm(oids.aes192Wrap),
  32: derAlgorithm(oids.aes256Wrap),
};
/** ECMQV with the X9.63 key derivation over a hash (RFC 5753 §7.1.4). */
export const mqvOids: Readonly<Record<Suite['hash'], Buffer>> = {
  sha256: oids.mqvSha256,
  sha384: oids.mqvSha384,
  sha512: oids.mqvSha512,
};
const contentOids: Readonly<Record<KeyBytes, Buffer>> = {
  16: oids.aes128Gcm,
  24: oids.aes192Gcm,
  32: oids.aes256Gcm,
};

/**
 * @param found - `keyEncryptionAlgorithm`, whose parameter is the key wrap (RFC 5753 §7.1.5)
 * @throws CmsError `cms.unsupported`
 */
export function readKeyEncryption(found: DerElement): [AgreementAlgorithm, KeyWrapAlgorithm] {
  const fields = found.inside();
  const agreementOid = fields.take(derTag.objectIdentifier, 'key agreement').content;
  const agreement = lookUp(agreements, agreementOid, 'key agreement');
  const wrap = fields.take(derTag.sequence, 'key wrap');
  fields.end('key agreement');
  return [agreement, readKeyWrap(wrap)];
}

/** @throws CmsError `cms.unsupported` */
export function readKeyWrap(found: DerElement): KeyWrapAlgorithm {
  const fields = found.inside();
  const oid = fields.take(derTag.objectIdentifier, 'key wrap').content;
  const keyBytes = lookUp(keyWraps, oid, 'key wrap');
  fields.end('key wrap');
  return { keyBytes, der: found.der };
}

export function writeKeyEncryption(agreementOid: Buffer, keyWrapIdentifier: Buffer): Buffer {
  return derSequence(derOid(agreementOid), keyWrapIdentifier);
}

/**
 * `GCMParameters ::= SEQUENCE { aes-nonce OCTET STRING, aes-ICVlen INTEGER (12 | … | 16) DEFAULT 12 }` (RFC 5084 §3.2)
 *
 * The tag is not covered by itself, so its length is fixed: otherwise an attacker could cut it.
 */
export function readContentAlgorithm(found: DerElement): ContentAlgorithm {
  const fields = found.inside();
  const oid = fields.take(derTag.objectIdentifier, 'content encryption').content;
  const algorithm = lookUp(contents, oid, 'content encryption');
  const parameters = fields.take(derTag.sequence, 'GCM parameters').inside();
  fields.end('content encryption');
  const nonce = parameters.take(derTag.octetString, 'nonce').content;
  const length = parameters.takeOptional(derTag.integer);
  const lengthBytes = length === undefined ? 12 : readSmallInteger(length, 'tag length');
  parameters.end('GCM parameters');
  if (lengthBytes !== tagBytes || nonce.length !== nonceBytes) throw rejected();
  return { ...algorithm, nonce };
}

export function writeContentAlgorithm(keyBytes: KeyBytes, nonce: Buffer): Buffer {
  const parameters = derSequence(derOctetString(nonce), derInteger(tagBytes));
  return derSequence(derOid(contentOids[keyBytes]), parameters);
}

function lookUp<Value>(table: Partial<Readonly<Record<OidName, Value>>>, oid: Buffer, what: string): Value {
  const name = oidName(oid);
  const value = name === undefined ? undefined : table[name];
  if (value === undefined) throw new CmsError('cms.unsupported', `${what} ${oidText(oid)} is not supported`);
  return value;
}
