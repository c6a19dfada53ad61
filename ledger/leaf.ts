/** The leaves of a ledger: what happened to one envelope, and what such entries refer to; deterministic CBOR. */
import { encode, rfc8949EncodeOptions } from 'cborg';
import { hash } from 'node:crypto';
import { channelNameLengthMax, readingsMax, recipientsMax, topicBytesMax } from '../domain/limits.ts';
import { LedgerError } from './errors.ts';
import { readLeafValue } from './leaf-cbor.ts';
import type { LeafValue } from './leaf-cbor.ts';
import { hashBytes } from './merkle.ts';

/** Leaf 0, which tells one ledger from every other. */
export interface BeginningLeaf {
  readonly kind: 'beginning';
  /** The account or master account whose auditor writes it. */
  readonly owner: string;
  /** 16 octets, drawn at random. */
  readonly id: Buffer;
  readonly timeMs: number;
}

/** The names of a snapshot's channels, written before the first passage that has them. */
export interface ChannelsLeaf {
  readonly kind: 'channels';
  readonly names: readonly string[];
}

export interface PassageRecipient {
  /** Subject key identifier, hexadecimal; or issuer and serial number. */
  readonly identifier: string;
  /** Undefined: nobody that the configuration knows. */
  readonly name: string | undefined;
}

export const directions = ['out', 'in'] as const;
export type Direction = (typeof directions)[number];

export const outcomes = [
  'passed', // the auditor only looked on
  'held', // waits for a person
  'released', // the auditor has signed it, and it goes on
  'denied', // it stays where it is
] as const;
export type Outcome = (typeof outcomes)[number];

/** What happened to one envelope. One that is held has a second entry when it is decided. */
export interface PassageLeaf {
  readonly kind: 'passage';
  readonly timeMs: number;
  readonly direction: Direction;
  /** Of the device that it is from or for. */
  readonly topic: string;
  /** As the envelope states it; undefined if it cannot be read. */
  readonly sequence: number | undefined;
  readonly signingTimeMs: number | undefined;
  /** SHA-256: the envelope's, as the next one refers to it; of the bytes if they are no envelope. */
  readonly digest: Buffer;
  /** Of the envelope before, as this one states it. */
  readonly previousDigest: Buffer | undefined;
  readonly recipients: readonly PassageRecipient[];
  /** Of a snapshot that was opened: how many, and `channelsDigest` of their names. */
  readonly channels: { readonly count: number; readonly digest: Buffer } | undefined;
  readonly bytes: number;
  readonly outcome: Outcome;
  /** Undefined: opened, verified, and readable by nobody but the configured recipients. */
  readonly alarm: { readonly reason: string; readonly detail: string } | undefined;
  /** Number of the policy that was applied. */
  readonly policy: number | undefined;
  /** Who decided, if it was not the policy: a person's name, or `deadline`. */
  readonly decidedBy: string | undefined;
}

export type Leaf = BeginningLeaf | ChannelsLeaf | PassageLeaf;
export type NumberedLeaf = Leaf & { readonly number: number };

/** Octets of a leaf: the longest is a list of `readingsMax` names. */
export const leafBytesMax = readingsMax * (channelNameLengthMax + 3) + 1024;

const idBytes = 16;
const kinds = ['beginning', 'passage', 'channels'] as const;
const textLengthMax = 1000;

export function encodeLeaf(number: number, leaf: Leaf): Uint8Array {
  return encode([number, kinds.indexOf(leaf.kind), ...fieldsOf(leaf)], rfc8949EncodeOptions);
}

/** One leaf has one encoding, so that nobody can hide anything in another. @throws LedgerError `ledger.malformed` */
export function decodeLeaf(encoded: Uint8Array): NumberedLeaf {
  const decoded = readLeafValue(encoded);
  if (!Array.isArray(decoded)) throw malformed('no array');
  const [number, kind, ...fields] = decoded as readonly LeafValue[];
  return { number: count(number, 'number'), ...leafOf(oneOf(kinds, kind, 'kind'), fields) };
}

function leafOf(kind: Leaf['kind'], fields: readonly unknown[]): Leaf {
  if (kind === 'beginning') return beginningOf(fields);
  return kind === 'channels' ? channelsOf(fields) : passageOf(fields);
}

/** What a passage says of its channels; the same names in the same order have the same one. */
export function channelsDigest(names: readonly string[]): Buffer {
  return hash('sha256', encode([...names], rfc8949EncodeOptions), 'buffer');
}

function fieldsOf(leaf: Leaf): unknown[] {
  if (leaf.kind === 'beginning') return [leaf.owner, leaf.id, leaf.timeMs];
  if (leaf.kind === 'channels') return [[...leaf.names]];
  return [
    leaf.timeMs,
    directions.indexOf(leaf.direction),
    leaf.topic,
    leaf.sequence ?? null,
    leaf.signingTimeMs ?? null,
    leaf.digest,
    leaf.previousDigest ?? null,
    leaf.recipients.map(({ identifier, name }) => [octetsOf(identifier), name ?? null]),
    leaf.channels?.count ?? null,
    leaf.channels?.digest ?? null,
    leaf.bytes,
    outcomes.indexOf(leaf.outcome),
    leaf.alarm?.reason ?? null,
    leaf.alarm?.detail ?? null,
    leaf.policy ?? null,
    leaf.decidedBy ?? null,
  ];
}

function beginningOf([owner, id, timeMs, ...more]: readonly unknown[]): BeginningLeaf {
  requireNoMore(more);
  return {
    kind: 'beginning',
    owner: text(owner, 'owner'),
    id: octets(id, 'id', idBytes),
    timeMs: count(timeMs, 'time'),
  };
}

function channelsOf([names, ...more]: readonly unknown[]): ChannelsLeaf {
  requireNoMore(more);
  if (!Array.isArray(names) || names.length > readingsMax) throw malformed('no list of channels');
  return { kind: 'channels', names: names.map((name) => text(name, 'channel')) };
}

const passageFields = 16;

function passageOf(fields: readonly unknown[]): PassageLeaf {
  if (fields.length !== passageFields) throw malformed(`a passage of ${fields.length} fields`);
  const [timeMs, direction, topic, sequence, signingTimeMs, digest, previous, recipients, ...rest] = fields;
  const [channels, names, bytes, outcome, reason, detail, policy, decidedBy] = rest;
  return {
    kind: 'passage',
    timeMs: count(timeMs, 'time'),
    direction: oneOf(directions, direction, 'direction'),
    topic: text(topic, 'topic', topicBytesMax),
    sequence: optional(sequence, (value) => count(value, 'sequence')),
    signingTimeMs: optional(signingTimeMs, signingTimeOf),
    digest: octets(digest, 'digest', hashBytes),
    previousDigest: optional(previous, (value) => octets(value, 'previous digest', hashBytes)),
    recipients: recipientsOf(recipients),
    channels: pair(channels, names, (value) => ({
      count: count(value, 'channels'),
      digest: octets(names, 'digest of the channels', hashBytes),
    })),
    bytes: count(bytes, 'bytes'),
    outcome: oneOf(outcomes, outcome, 'outcome'),
    alarm: pair(reason, detail, (value) => ({
      reason: text(value, 'reason'),
      detail: text(detail, 'detail'),
    })),
    policy: optional(policy, (value) => count(value, 'policy')),
    decidedBy: optional(decidedBy, (value) => text(value, 'who decided')),
  };
}

function recipientsOf(value: unknown): PassageRecipient[] {
  if (!Array.isArray(value) || value.length > recipientsMax) throw malformed('no list of recipients');
  return value.map((recipient: unknown) => {
    if (!Array.isArray(recipient) || recipient.length !== 2)
      throw malformed('a recipient of other than two fields');
    const [identifier, name] = recipient as unknown[];
    return {
      identifier: identifierOf(identifier),
      name: optional(name, (found) => text(found, 'recipient')),
    };
  });
}

const hexPattern = /^([0-9a-f]{2})+$/;

/** A key identifier is half as long in octets as in hexadecimal. */
function octetsOf(identifier: string): Uint8Array | string {
  return hexPattern.test(identifier) ? Buffer.from(identifier, 'hex') : identifier;
}

/** The reverse; what could have been written as the other was not written by us. */
function identifierOf(value: unknown): string {
  if (Buffer.isBuffer(value) && value.length > 0) return value.toString('hex');
  const found = text(value, 'recipient');
  if (!hexPattern.test(found)) return found;
  throw malformed('a key identifier as a text');
}

function optional<T>(value: unknown, read: (value: unknown) => T): T | undefined {
  return value === null ? undefined : read(value);
}

/** Of two fields that are both there or both null. */
function pair<T>(value: unknown, other: unknown, read: (value: unknown) => T): T | undefined {
  if (value === null && other !== null) throw malformed('half of what belongs together');
  return optional(value, read);
}

/** By the clock of a device, which may stand before 1970. */
function signingTimeOf(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw malformed('signing time: no whole number');
}

function count(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed(`${what}: no count`);
}

function text(value: unknown, what: string, lengthMax = textLengthMax): string {
  if (typeof value === 'string' && value.length <= lengthMax) return value;
  throw malformed(`${what}: no text of at most ${lengthMax} characters`);
}

function octets(value: unknown, what: string, length: number): Buffer {
  if (value instanceof Uint8Array && value.length === length) {
    return Buffer.from(value); // a copy, because what was decoded is reused for the next record
  }
  throw malformed(`${what}: not ${length} octets`);
}

function oneOf<T>(values: readonly T[], value: unknown, what: string): T {
  const found = values[count(value, what)];
  if (found === undefined) throw malformed(`${what}: none that this version knows`);
  return found;
}

function requireNoMore(more: readonly unknown[]): void {
  if (more.length > 0) throw malformed('more fields than its kind has');
}

function malformed(what: string): LedgerError {
  return new LedgerError('ledger.malformed', `a leaf that cannot be read: ${what}`);
}
