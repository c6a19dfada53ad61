/** JSON lines from standard input: one SenML pack or one plain object a line. */
import type { Clock } from '../../domain/clock.ts';
import { readingsMax, valueLengthMax } from '../../domain/limits.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import { decodeSenmlJson, SenmlError } from '../../domain/senml.ts';
import type { Reading } from '../../domain/snapshot.ts';
import { isChannelName } from '../../domain/snapshot.ts';
import type { Collected, Collector } from './collector.ts';
import { quoted, rejection } from './collector.ts';
import type { Line } from './lines.ts';
import { readLines } from './lines.ts';
import { epochTimeMs, readTimeMs } from './number.ts';

export interface JsonLinesOptions {
  readonly device: NamespacePath;
  /** Of plain objects, and of packs that state none. */
  readonly deviceType: string;
}

/** The member of a plain object that is no channel: ISO 8601 with a zone, or seconds or milliseconds since 1970. */
const timeMember = 'time';

/**
 * Reads `[{"n": "temperature", "u": "Cel", "v": 21.5, "t": 1760000000}]` (RFC 8428) or
 * `{"temperature": 21.5, "ok": true, "time": "2026-01-01T00:00:00Z"}`. Without a time, a plain object is of now.
 *
 * @param input - for example `process.stdin`
 */
export async function* collectJsonLines(
  input: AsyncIterable<Uint8Array>,
  options: JsonLinesOptions,
  clock: Clock,
): Collector {
  for await (const lines of readLines(decoded(input))) {
    for (const line of lines) {
      if (line.text?.trim() === '') continue;
      yield readJsonLine(line, options, clock);
    }
  }
}

async function* decoded(input: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder('utf-8');
  for await (const piece of input) yield decoder.decode(piece, { stream: true });
  const rest = decoder.decode();
  if (rest !== '') yield rest;
}

function readJsonLine(line: Line, options: JsonLinesOptions, clock: Clock): Collected {
  if (line.text === undefined)
    return rejection(line.number, line.fault ?? 'line-too-long', 'the line is not whole');
  if (line.text.includes('\uFFFD')) return rejection(line.number, 'not-utf8', 'the line is not UTF-8');
  let value: unknown;
  try {
    value = JSON.parse(line.text);
  } catch {
    return rejection(line.number, 'not-json', quoted(line.text));
  }
  if (Array.isArray(value)) return readSenml(line.number, line.text, options);
  if (typeof value !== 'object' || value === null) {
    return rejection(line.number, 'not-json', 'wanted an object or a SenML pack');
  }
  return readObject(line.number, Object.entries(value), options, clock);
}

function readSenml(line: number, text: string, options: JsonLinesOptions): Collected {
  try {
    const snapshot = decodeSenmlJson(options.device, text);
    const deviceType = snapshot.deviceType === '' ? options.deviceType : snapshot.deviceType;
    return { kind: 'sample', device: undefined, snapshot: { ...snapshot, deviceType } };
  } catch (error) {
    if (!(error instanceof SenmlError)) throw error;
    return rejection(line, 'not-senml', `${error.code}: ${error.message}`);
  }
}

function readObject(
  line: number,
  members: readonly (readonly [string, unknown])[],
  options: JsonLinesOptions,
  clock: Clock,
): Collected {
  let timeMs: number | undefined = clock();
  const readings: Reading[] = [];
  if (members.length > readingsMax) return rejection(line, 'bad-value', `more than ${readingsMax} members`);
  for (const [name, value] of members) {
    if (name === timeMember) {
      timeMs = timeOf(value);
      if (timeMs === undefined) return rejection(line, 'bad-time', `time is ${quoted(String(value))}`);
      continue;
    }
    if (!isChannelName(name)) return rejection(line, 'bad-channel', `${quoted(name)} is no channel name`);
    if (!isChannelValue(value)) {
      return rejection(line, 'bad-value', `${quoted(name)} is no finite number, boolean or short text`);
    }
    readings.push({ channel: name, value });
  }
  if (readings.length === 0) return rejection(line, 'no-values', 'the object has no value');
  return {
    kind: 'sample',
    device: undefined,
    snapshot: { timeMs, deviceType: options.deviceType, readings },
  };
}

function timeOf(value: unknown): number | undefined {
  if (typeof value === 'number') return epochTimeMs(value);
  return typeof value === 'string' ? readTimeMs(value) : undefined;
}

function isChannelValue(value: unknown): value is number | boolean | string {
  if (typeof value === 'number') return Number.isFinite(value);
  return typeof value === 'boolean' || (typeof value === 'string' && value.length <= valueLengthMax);
}
