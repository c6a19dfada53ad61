/**
 * What a device and whoever certifies it say to each other (DESIGN §3, §8). Each message is a CBOR map, signed and not
 * sealed: certificates are public. Its first field says which it is, so that none is taken for another.
 */
import { decode, encode, rfc8949EncodeOptions } from 'cborg';
import { chainLengthMax } from './limits.ts';
import { isFactoryName, parseDevicePath } from './namespace.ts';

/** Who answers requests. */
export const enrolmentServiceName = 'vendor-enrolment-service';

/** First certificates, new ones in time, or those of another place in the tree. */
export const enrolmentKinds = ['enrol', 'renew', 'transfer'] as const;
export type EnrolmentKind = (typeof enrolmentKinds)[number];

/** One of each for the three keys of a device. */
export interface ForEachKey<Value> {
  readonly tls: Value;
  readonly sig: Value;
  readonly enc: Value;
}

export interface EnrolmentRequest {
  /** A UUID, the same however often the request is sent. */
  readonly id: string;
  readonly kind: EnrolmentKind;
  /** Who it is to be: a device's path, or a factory name that asks for a path. */
  readonly path: string;
  /** PKCS #10, DER. */
  readonly requests: ForEachKey<Uint8Array>;
  readonly requestedAtMs: number;
  readonly agentVersion: string;
  /** Of the transfer that it follows; with kind `transfer`. */
  readonly transfer?: string;
}

export type EnrolmentOutcome = 'issued' | 'waiting' | 'refused';

/** Where a device is to connect from now on. */
export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
  /** The common name that its certificate must carry. */
  readonly name: string;
}

export interface EnrolmentReply {
  /** Of the request. */
  readonly id: string;
  /** SHA-256 of the request's content. */
  readonly requestDigest: Uint8Array;
  readonly outcome: EnrolmentOutcome;
  /** Why it was refused, or what it waits for, in words; at most 1,000 characters. */
  readonly detail: string;
  readonly repliedAtMs: number;
  /** DER, leaf first, without the root; with `issued`. */
  readonly chains?: ForEachKey<readonly Uint8Array[]>;
  /** Absent: where it is. */
  readonly broker?: BrokerAddress;
  /** The signed request; with `waiting`, for whoever is to approve it. */
  readonly request?: Uint8Array;
}

export interface EnrolmentApproval {
  /** Of the request. */
  readonly id: string;
  readonly requestDigest: Uint8Array;
  readonly decision: 'approve' | 'refuse';
  /** Why, in words; at most 1,000 characters. */
  readonly detail: string;
  readonly decidedAtMs: number;
  /** The place that a device gets whom only the factory has named so far. */
  readonly path?: string;
}

/** A device changes hands when its owner, the vendor and its new owner have all signed this. */
export interface TransferDocument {
  /** A UUID. */
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** SHA-256 of the certificate that the device signs with now. */
  readonly deviceCertificate: Uint8Array;
  /** Absent: where it is. */
  readonly broker?: BrokerAddress;
  readonly notBeforeMs: number;
  readonly expiresAtMs: number;
}

/** A device has shown that its new certificates work: it says so by them, in its new place. */
export interface EnrolmentConfirmation {
  /** Of the request. */
  readonly id: string;
  readonly confirmedAtMs: number;
}

const detailLengthMax = 1000;
const versionLengthMax = 64;
const hostLengthMax = 253;
const requestBytesMax = 8 * 1024;
const certificateBytesMax = 8 * 1024;
const signedRequestBytesMax = 64 * 1024;
const digestBytes = 32;
const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const keyNames = ['tls', 'sig', 'enc'] as const;

export class EnrolmentMessageError extends Error {
  override readonly name = 'EnrolmentMessageError';
  readonly code = 'enrolment.malformed';
}

export function encodeEnrolmentRequest(request: EnrolmentRequest): Uint8Array {
  return write('request', request);
}

/** @throws EnrolmentMessageError */
export function decodeEnrolmentRequest(content: Uint8Array): EnrolmentRequest {
  const fields = read('request', content);
  const kind = enrolmentKinds.find((known) => known === fields['kind']);
  if (kind === undefined) throw new EnrolmentMessageError('"kind" is not known to this version');
  const { transfer } = fields;
  if ((kind === 'transfer') !== (transfer !== undefined))
    throw new EnrolmentMessageError('"transfer" does not fit');
  return {
    id: id(fields, 'id'),
    kind,
    path: name(fields, 'path'),
    requests: forEachKey(fields['requests'], 'requests', (value) =>
      bytes(value, 'requests', requestBytesMax),
    ),
    requestedAtMs: time(fields, 'requestedAtMs'),
    agentVersion: text(fields, 'agentVersion', versionLengthMax),
    ...(transfer === undefined ? {} : { transfer: id(fields, 'transfer') }),
  };
}

export function encodeEnrolmentReply(reply: EnrolmentReply): Uint8Array {
  return write('reply', { ...reply, detail: reply.detail.slice(0, detailLengthMax) });
}

/** Checks the shape alone: whether the chains are to be trusted is for `pki/path.ts` to say. @throws EnrolmentMessageError */
export function decodeEnrolmentReply(content: Uint8Array): EnrolmentReply {
  const fields = read('reply', content);
  const { outcome, chains, broker, request } = fields;
  if (outcome !== 'issued' && outcome !== 'waiting' && outcome !== 'refused') {
    throw new EnrolmentMessageError('"outcome" is not known to this version');
  }
  if ((outcome === 'issued') !== (chains !== undefined))
    throw new EnrolmentMessageError('"chains" do not fit');
  if ((outcome === 'waiting') !== (request !== undefined))
    throw new EnrolmentMessageError('"request" does not fit');
  return {
    id: id(fields, 'id'),
    requestDigest: digest(fields, 'requestDigest'),
    outcome,
    detail: text(fields, 'detail', detailLengthMax),
    repliedAtMs: time(fields, 'repliedAtMs'),
    ...(chains === undefined ? {} : { chains: forEachKey(chains, 'chains', chain) }),
    ...(broker === undefined ? {} : { broker: address(broker) }),
    ...(request === undefined ? {} : { request: bytes(request, 'request', signedRequestBytesMax) }),
  };
}

export function encodeEnrolmentApproval(approval: EnrolmentApproval): Uint8Array {
  return write('approval', { ...approval, detail: approval.detail.slice(0, detailLengthMax) });
}

/** @throws EnrolmentMessageError */
export function decodeEnrolmentApproval(content: Uint8Array): EnrolmentApproval {
  const fields = read('approval', content);
  const { decision, path } = fields;
  if (decision !== 'approve' && decision !== 'refuse') {
    throw new EnrolmentMessageError('"decision" is not known to this version');
  }
  return {
    id: id(fields, 'id'),
    requestDigest: digest(fields, 'requestDigest'),
    decision,
    detail: text(fields, 'detail', detailLengthMax),
    decidedAtMs: time(fields, 'decidedAtMs'),
    ...(path === undefined ? {} : { path: devicePath(fields, 'path') }),
  };
}

export function encodeTransferDocument(document: TransferDocument): Uint8Array {
  return write('transfer', document);
}

/** @throws EnrolmentMessageError */
export function decodeTransferDocument(content: Uint8Array): TransferDocument {
  const fields = read('transfer', content);
  const { broker } = fields;
  const [from, to] = [devicePath(fields, 'from'), devicePath(fields, 'to')];
  if (from === to) throw new EnrolmentMessageError('"from" and "to" are the same');
  return {
    id: id(fields, 'id'),
    from,
    to,
    deviceCertificate: digest(fields, 'deviceCertificate'),
    notBeforeMs: time(fields, 'notBeforeMs'),
    expiresAtMs: time(fields, 'expiresAtMs'),
    ...(broker === undefined ? {} : { broker: address(broker) }),
  };
}

export function encodeEnrolmentConfirmation(confirmation: EnrolmentConfirmation): Uint8Array {
  return write('confirmation', confirmation);
}

/** @throws EnrolmentMessageError */
export function decodeEnrolmentConfirmation(content: Uint8Array): EnrolmentConfirmation {
  const fields = read('confirmation', content);
  return { id: id(fields, 'id'), confirmedAtMs: time(fields, 'confirmedAtMs') };
}

/** @returns which of the messages it says it is; its reader checks the rest */
export function typeOfEnrolmentMessage(content: Uint8Array): string {
  const { type } = decodeMap(content);
  return typeof type === 'string' ? type : '';
}

type Fields = Readonly<Record<string, unknown>>;

function write(type: string, fields: object): Uint8Array {
  return encode({ type, ...fields }, rfc8949EncodeOptions);
}

function read(type: string, content: Uint8Array): Fields {
  const fields = decodeMap(content);
  if (fields['type'] !== type) throw new EnrolmentMessageError(`content is not of type "${type}"`);
  return fields;
}

function decodeMap(content: Uint8Array): Fields {
  let decoded: unknown;
  try {
    decoded = decode(content, { rejectDuplicateMapKeys: true, allowUndefined: false });
  } catch (cause) {
    throw new EnrolmentMessageError('content is not CBOR', { cause });
  }
  return map(decoded, 'content');
}

function map(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    throw new EnrolmentMessageError(`${quote(what)} is not a map`);
  }
  return Object.fromEntries(Object.entries(value));
}

function forEachKey<Value>(
  value: unknown,
  what: string,
  readOne: (value: unknown, what: string) => Value,
): ForEachKey<Value> {
  const fields = map(value, what);
  const [tls, sig, enc] = keyNames.map((key) => readOne(fields[key], what));
  if (
    tls === undefined ||
    sig === undefined ||
    enc === undefined ||
    Object.keys(fields).length !== keyNames.length
  ) {
    throw new EnrolmentMessageError(`${quote(what)} is not for tls, sig and enc`);
  }
  return { tls, sig, enc };
}

function chain(value: unknown, what: string): readonly Uint8Array[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > chainLengthMax) {
    throw new EnrolmentMessageError(`${quote(what)} has no chain of 1 to ${chainLengthMax} certificates`);
  }
  return value.map((item: unknown) => bytes(item, what, certificateBytesMax));
}

function address(value: unknown): BrokerAddress {
  const fields = map(value, 'broker');
  const { port } = fields;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new EnrolmentMessageError('"port" is not a port');
  }
  return { host: text(fields, 'host', hostLengthMax), port, name: text(fields, 'name', hostLengthMax) };
}

function bytes(value: unknown, what: string, bytesMax: number): Uint8Array {
  if (value instanceof Uint8Array && value.length > 0 && value.length <= bytesMax) return value;
  throw new EnrolmentMessageError(`${quote(what)} is not 1 to ${bytesMax} bytes`);
}

function digest(fields: Fields, what: string): Uint8Array {
  const value = fields[what];
  if (value instanceof Uint8Array && value.length === digestBytes) return value;
  throw new EnrolmentMessageError(`${quote(what)} is not a digest`);
}

function id(fields: Fields, what: string): string {
  const value = fields[what];
  if (typeof value === 'string' && idPattern.test(value)) return value;
  throw new EnrolmentMessageError(`${quote(what)} is not a UUID`);
}

function devicePath(fields: Fields, what: string): string {
  const value = fields[what];
  if (typeof value === 'string' && parseDevicePath(value) !== undefined) return value;
  throw new EnrolmentMessageError(`${quote(what)} is not the path of a device`);
}

function name(fields: Fields, what: string): string {
  const value = fields[what];
  return typeof value === 'string' && isFactoryName(value) ? value : devicePath(fields, what);
}

function time(fields: Fields, what: string): number {
  const value = fields[what];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
  throw new EnrolmentMessageError(`${quote(what)} is not a time`);
}

function text(fields: Fields, what: string, lengthMax: number): string {
  const value = fields[what];
  if (typeof value === 'string' && value.length <= lengthMax) return value;
  throw new EnrolmentMessageError(`${quote(what)} is not a text of at most ${lengthMax} characters`);
}

function quote(what: string): string {
  return `"${what}"`;
}
