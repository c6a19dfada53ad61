/** SenML (RFC 8428), as CBOR and as JSON: what an envelope contains. */
import { decode, encode, Token, Tokenizer, Type } from 'cborg';
import { errorText } from './error-text.ts';
import {
  channelNameLengthMax,
  contentBytesMax,
  readingsMax,
  unitLengthMax,
  valueLengthMax,
} from './limits.ts';
import type { NamespacePath } from './namespace.ts';
import type { ChannelValue, Reading, Snapshot } from './snapshot.ts';
import { isChannelName } from './snapshot.ts';

export type SenmlErrorCode =
  | 'senml.malformed' // neither CBOR nor JSON, not an array of records, or a channel twice
  | 'senml.unsupported' // a version or a mandatory field that we do not know (RFC 8428 §4.4)
  | 'senml.limit' // more records, or a longer name, unit or value than we take
  | 'senml.not_finite' // NaN or an infinity
  | 'senml.foreign' // the base name is another device's
  | 'senml.no_values';

export class SenmlError extends Error {
  override readonly name = 'SenmlError';
  readonly code: SenmlErrorCode;
  constructor(code: SenmlErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

// RFC 8428 §6, table 4: the integer labels that CBOR uses for the JSON names.
const labels = { bver: -1, bn: -2, bt: -3, bu: -4, bv: -5, n: 0, u: 1, v: 2, vs: 3, vb: 4, t: 6 } as const;
const names = new Map<unknown, string>([
  ...Object.entries(labels).map(([name, label]) => [label, name] as const),
  [-6, 'bs'],
  [5, 's'],
  [7, 'ut'],
  [8, 'vd'],
]);
const versionMax = 10; // RFC 8428 §4.4
/** RFC 8428 §4.5.3: a smaller time is relative to now, which a record at rest cannot be. */
const absoluteTimeMinSeconds = 2 ** 28;
/** The end of the year 9999: no clock is that far ahead, and up to here a double of seconds holds every millisecond. */
const absoluteTimeMaxSeconds = 253_402_300_799;
/** The record that carries `Snapshot.deviceType`. */
const deviceTypeName = 'device.type';

/**
 * @param device - becomes the base name, so that names are globally unique (RFC 8428 §4.5.1)
 * @returns CBOR, media type `application/senml+cbor`
 * @throws SenmlError for a snapshot that no reader would take: its maker learns it first
 */
export function encodeSenmlCbor(device: NamespacePath, snapshot: Snapshot): Uint8Array {
  requireReadable(snapshot);
  const base = new Map<number, unknown>([
    [labels.bn, `${device}:`],
    [labels.bt, snapshot.timeMs / 1000],
    [labels.n, deviceTypeName],
    [labels.vs, snapshot.deviceType],
  ]);
  const records = snapshot.readings.map((reading) => {
    const record = new Map<number, unknown>([[labels.n, reading.channel]]);
    if (reading.unit !== undefined) record.set(labels.u, reading.unit);
    record.set(valueLabel(reading.value), reading.value);
    return record;
  });
  // cborg's own order of keys, shorter first, is RFC 8949's (§4.2.1) for labels of one octet, and takes half the time.
  return encode([base, ...records], encodeOptions);
}

function requireReadable({ timeMs, deviceType, readings }: Snapshot): void {
  requireAbsolute(timeMs);
  requireLength('device type', deviceType, valueLengthMax);
  if (readings.length === 0) throw new SenmlError('senml.no_values', 'snapshot has no reading');
  if (readings.length > readingsMax) {
    throw new SenmlError(
      'senml.limit',
      `snapshot has ${readings.length} readings; at most ${readingsMax} are read`,
    );
  }
  const channels = new Set<string>();
  for (const { channel, unit, value } of readings) {
    if (!isChannelName(channel))
      throw new SenmlError('senml.malformed', `"${channel}" is not a channel name`);
    if (channel === deviceTypeName) throw new SenmlError('senml.malformed', `"${channel}" is not a channel`);
    requireFirst(channels, channel);
    if (unit !== undefined) requireLength('unit', unit, unitLengthMax);
    if (typeof value === 'string') requireLength('value', value, valueLengthMax);
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new SenmlError('senml.not_finite', `"${channel}" is ${value}`);
    }
  }
}

function requireAbsolute(timeMs: number): void {
  if (timeMs < absoluteTimeMinSeconds * 1000) {
    throw new SenmlError('senml.unsupported', 'time is relative to now; a snapshot states an absolute time');
  }
  if (timeMs > absoluteTimeMaxSeconds * 1000)
    throw new SenmlError('senml.limit', 'time is after the year 9999');
}

function requireLength(what: string, text: string, lengthMax: number): void {
  if (text.length <= lengthMax) return;
  throw new SenmlError('senml.limit', `${what} has ${text.length} characters; at most ${lengthMax} are read`);
}

/** A snapshot has one value a channel: of two, readers might take different ones. */
function requireFirst(channels: Set<string>, channel: string): void {
  if (channels.has(channel)) throw new SenmlError('senml.malformed', `"${channel}" is there twice`);
  channels.add(channel);
}

function valueLabel(value: ChannelValue): number {
  if (typeof value === 'number') return labels.v;
  return typeof value === 'string' ? labels.vs : labels.vb;
}

/** cborg writes -0 as the integer 0; the device's value must come back as it was. */
function encodeNumber(value: number): Token | null {
  return Object.is(value, -0) ? new Token(Type.float, value) : null;
}

const encodeOptions = { typeEncoders: { number: encodeNumber } };

/**
 * Reads what `encodeSenmlCbor` made, or any other SenML of one moment in time.
 *
 * @param device - the originator of the envelope; a base name of another device is refused
 * @throws SenmlError
 */
export function decodeSenmlCbor(device: NamespacePath, content: Uint8Array): Snapshot {
  requireSize(content);
  let decoded: unknown;
  try {
    decoded = decode(content, { ...decodeOptions, tokenizer: new WholeTexts(content, decodeOptions) });
  } catch (cause) {
    throw new SenmlError('senml.malformed', `content is not CBOR: ${errorText(cause)}`, { cause });
  }
  return readPack(device, requireArray(decoded).map(recordFromCbor));
}

const decodeOptions = {
  useMaps: true,
  rejectDuplicateMapKeys: true,
  allowUndefined: false,
  allowBigInt: false,
  allowNaN: true,
  allowInfinity: true,
  retainStringBytes: true,
};
const byteOrderMark = '\ufeff';
const byteOrderMarkOctets = Buffer.from(byteOrderMark);

/** cborg takes U+FEFF at the beginning of a text for a byte order mark and drops it; in CBOR it is a character (RFC 8949 §3.1). */
class WholeTexts extends Tokenizer {
  override next(): Token {
    const token = super.next();
    const { byteValue } = token;
    if (token.type !== Type.string || byteValue === undefined) return token;
    if (byteOrderMarkOctets.equals(byteValue.subarray(0, 3)))
      token.value = byteOrderMark + String(token.value);
    return token;
  }
}

/** The same for JSON, media type `application/senml+json`. */
export function decodeSenmlJson(device: NamespacePath, content: Uint8Array | string): Snapshot {
  requireSize(content);
  let decoded: unknown;
  try {
    decoded = JSON.parse(
      typeof content === 'string' ? content : new TextDecoder('utf-8', { fatal: true }).decode(content),
    );
  } catch (cause) {
    throw new SenmlError('senml.malformed', `content is not JSON: ${errorText(cause)}`, { cause });
  }
  return readPack(device, requireArray(decoded).map(recordFromJson));
}

function requireSize(content: Uint8Array | string): void {
  if (content.length > contentBytesMax) {
    throw new SenmlError(
      'senml.limit',
      `content has ${content.length} bytes; at most ${contentBytesMax} are read`,
    );
  }
}

function requireArray(decoded: unknown): readonly unknown[] {
  if (!Array.isArray(decoded)) {
    throw new SenmlError('senml.malformed', 'a SenML pack is an array of records (RFC 8428 §4)');
  }
  // A pack of one type record and the readings.
  if (decoded.length > readingsMax + 1) {
    throw new SenmlError(
      'senml.limit',
      `pack has ${decoded.length} records; at most ${readingsMax + 1} are read`,
    );
  }
  return decoded;
}

type SenmlRecord = ReadonlyMap<string, unknown>;

function recordFromCbor(item: unknown): SenmlRecord {
  if (!(item instanceof Map))
    throw new SenmlError('senml.malformed', 'a SenML record is a map (RFC 8428 §4)');
  const record = new Map<string, unknown>();
  for (const [key, value] of item) record.set(names.get(key) ?? String(key), value);
  // A label and the name that it stands for are one field.
  if (record.size < item.size) throw new SenmlError('senml.malformed', 'a record has a field twice');
  return record;
}

function recordFromJson(item: unknown): SenmlRecord {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    throw new SenmlError('senml.malformed', 'a SenML record is an object (RFC 8428 §4)');
  }
  return new Map(Object.entries(item));
}

function readPack(device: NamespacePath, records: readonly SenmlRecord[]): Snapshot {
  const base = { name: '', timeSeconds: 0, unit: '' };
  const readings: Reading[] = [];
  const channels = new Set<string>();
  let deviceType = '';
  let timeMs: number | undefined;
  for (const record of records) {
    updateBase(base, record);
    const value = readValue(record);
    if (value === undefined) continue; // a record may carry base values alone (RFC 8428 §4.1)
    const channel = readChannel(device, base.name, record);
    const seconds = base.timeSeconds + (readNumber(record, 't') ?? 0);
    const recordTimeMs = Math.round(seconds * 1000);
    if (timeMs !== undefined && recordTimeMs !== timeMs) {
      throw new SenmlError(
        'senml.unsupported',
        'all values of a snapshot have one time; this pack has several',
      );
    }
    timeMs = recordTimeMs;
    requireFirst(channels, channel);
    const unit = readText(record, 'u', unitLengthMax) ?? base.unit;
    if (channel === deviceTypeName && typeof value === 'string') deviceType = value;
    else readings.push({ channel, ...(unit === '' ? {} : { unit }), value });
  }
  if (timeMs === undefined || readings.length === 0)
    throw new SenmlError('senml.no_values', 'pack has no value');
  requireAbsolute(timeMs);
  return { timeMs, deviceType, readings };
}

function updateBase(base: { name: string; timeSeconds: number; unit: string }, record: SenmlRecord): void {
  const version = readNumber(record, 'bver');
  if (version !== undefined && version > versionMax) {
    throw new SenmlError('senml.unsupported', `pack has version ${version}; at most ${versionMax} is read`);
  }
  for (const key of record.keys()) {
    // RFC 8428 §4.4: a name that ends in an underscore must be understood. We know none.
    if (key.endsWith('_')) throw new SenmlError('senml.unsupported', `mandatory field "${key}" is not known`);
  }
  if (record.has('bv') || record.has('bs') || record.has('s')) {
    throw new SenmlError('senml.unsupported', 'base values and sums are not read');
  }
  base.name = readText(record, 'bn', 2 * channelNameLengthMax) ?? base.name;
  base.timeSeconds = readNumber(record, 'bt') ?? base.timeSeconds;
  base.unit = readText(record, 'bu', unitLengthMax) ?? base.unit;
}

function readChannel(device: NamespacePath, baseName: string, record: SenmlRecord): string {
  const name = baseName + (readText(record, 'n', 2 * channelNameLengthMax) ?? '');
  const own = `${device}:`;
  const channel = name.startsWith(own) ? name.slice(own.length) : name;
  // A colon separates a device from its channel, so what still has one names another device.
  if (channel.includes(':')) throw new SenmlError('senml.foreign', `"${name}" is not a channel of ${device}`);
  if (!isChannelName(channel)) throw new SenmlError('senml.malformed', `"${channel}" is not a channel name`);
  return channel;
}

function readValue(record: SenmlRecord): ChannelValue | undefined {
  const given = ['v', 'vs', 'vb', 'vd'].filter((key) => record.has(key));
  if (given.length > 1)
    throw new SenmlError('senml.malformed', 'a record has at most one value (RFC 8428 §4.2)');
  switch (given[0]) {
    case undefined:
      return undefined;
    case 'v':
      return readNumber(record, 'v');
    case 'vs':
      return readText(record, 'vs', valueLengthMax);
    case 'vb': {
      const value = record.get('vb');
      if (typeof value !== 'boolean') throw new SenmlError('senml.malformed', '"vb" is not a boolean');
      return value;
    }
    default:
      throw new SenmlError('senml.unsupported', 'data values (vd) are not read');
  }
}

function readNumber(record: SenmlRecord, key: string): number | undefined {
  const value = record.get(key);
  if (value === undefined) return undefined;
  if (typeof value !== 'number') throw new SenmlError('senml.malformed', `"${key}" is not a number`);
  if (!Number.isFinite(value)) throw new SenmlError('senml.not_finite', `"${key}" is ${value}`);
  return value;
}

function readText(record: SenmlRecord, key: string, lengthMax: number): string | undefined {
  const value = record.get(key);
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw new SenmlError('senml.malformed', `"${key}" is not a string`);
  requireLength(`"${key}"`, value, lengthMax);
  return value;
}
