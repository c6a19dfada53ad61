/** The newest snapshots of a device, each whole in one row: JSON as it is, because compressing took most of the time. */
import type { ChannelValue } from '../domain/snapshot.ts';
import { valueOf, valuesJson } from './payload.ts';

/** One value of one channel. */
export type ChannelPair = readonly [channelId: number, value: ChannelValue];

/** Values of channels whose ids follow one another, behind the first of these ids. */
type Group = readonly [firstId: number, ...values: ChannelValue[]];

/**
 * @returns the payload of a row of `head`: `[[first id, value, …], …]`. A type's channels were made together, so there are
 *   few groups. What has a quotation mark stands in groups behind everything else.
 */
export function encodePairs(pairs: readonly ChannelPair[]): Buffer {
  return encodeValues(
    pairs.map(([channelId]) => channelId),
    pairs.map(([, value]) => value),
  );
}

/** As `encodePairs`, of as many values as ids. */
export function encodeValues(channelIds: readonly number[], values: readonly ChannelValue[]): Buffer {
  const numbers = new Groups();
  const texts = new Groups();
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? 0;
    const hasQuote = typeof value === 'string' || (typeof value === 'number' && !Number.isFinite(value));
    (hasQuote ? texts : numbers).add(channelIds[index] ?? 0, value);
  }
  return Buffer.from(`[${[...numbers.json(), ...texts.json()].join(',')}]`);
}

class Groups {
  readonly #groups: { readonly firstId: number; readonly values: ChannelValue[] }[] = [];
  #values: ChannelValue[] = [];
  #nextId = 0;

  add(channelId: number, value: ChannelValue): void {
    if (channelId !== this.#nextId || this.#groups.length === 0) {
      this.#values = [];
      this.#groups.push({ firstId: channelId, values: this.#values });
    }
    this.#values.push(value);
    this.#nextId = channelId + 1;
  }

  json(): string[] {
    return this.#groups.map(({ firstId, values }) => `[${firstId},${valuesJson(values).slice(1)}`);
  }
}

/** The inverse, but for the order. */
export function decodePairs(payload: Uint8Array): ChannelPair[] {
  return decodeGroups(payload).flatMap(([firstId, ...values]) =>
    values.map((value, index): ChannelPair => [firstId + index, value]),
  );
}

/** As `decodePairs`, without making the pairs. */
export function eachValue(payload: Uint8Array, take: (channelId: number, value: ChannelValue) => void): void {
  for (const group of decodeGroups(payload)) {
    const [firstId] = group;
    for (let index = 1; index < group.length; index++) take(firstId + index - 1, group[index] ?? 0);
  }
}

/**
 * The values of many snapshots by channel.
 *
 * @returns channel id → its value in each of the payloads, null where that has none
 */
export function columnsOf(payloads: readonly Uint8Array[]): Map<number, (ChannelValue | null)[]> {
  const columns = new Map<number, (ChannelValue | null)[]>();
  /** By the first id of a group, so that a channel is not looked up for every value. */
  const stretches = new Map<number, (ChannelValue | null)[][]>();
  for (const [place, payload] of payloads.entries()) {
    for (const group of decodeGroups(payload)) {
      const [firstId] = group;
      const stretch = stretches.get(firstId) ?? [];
      stretches.set(firstId, stretch);
      for (let index = 1; index < group.length; index++) {
        const column = (stretch[index - 1] ??= columnIn(columns, firstId + index - 1));
        while (column.length < place) column.push(null);
        column.push(group[index] ?? 0);
      }
    }
  }
  for (const column of columns.values()) while (column.length < payloads.length) column.push(null);
  return columns;
}

function columnIn(columns: Map<number, (ChannelValue | null)[]>, channelId: number): (ChannelValue | null)[] {
  const column = columns.get(channelId) ?? [];
  columns.set(channelId, column);
  return column;
}

function decodeGroups(payload: Uint8Array): Group[] {
  const json = bytesOf(payload).toString('utf8');
  const groups = JSON.parse(json) as [number, ...unknown[]][];
  if (!json.includes(',["')) return groups as unknown as Group[];
  return groups.map(([firstId, ...values]) => [firstId, ...values.map((value) => valueOf(value) ?? 0)]);
}

const bracketCode = 0x5b;
const bracketEndCode = 0x5d;
const commaCode = 0x2c;
const quoteCode = 0x22;

/**
 * One channel's number, found without parsing the rest: a tenth of the time.
 *
 * @returns undefined if the channel is not there or has no number; booleans are 1 and 0
 */
export function findNumber(payload: Uint8Array, channelId: number): number | undefined {
  // Behind the first quotation mark is no number.
  const quote = payload.indexOf(quoteCode);
  const end = quote < 0 ? payload.length : quote;
  let id = 0;
  let isId = false;
  let from = 0;
  for (let at = 1; at < end; at++) {
    const code = payload[at];
    if (code === bracketCode) {
      isId = true;
      from = at + 1;
    } else if (code === commaCode || code === bracketEndCode) {
      if (isId) id = Number(textBetween(payload, from, at)) - 1;
      else if (id === channelId) return numberOf(textBetween(payload, from, at));
      isId = false;
      id += 1;
      from = at + 1;
      // Between two groups: the comma, which ends no value.
      if (code === bracketEndCode) at += 1;
    }
  }
  return undefined;
}

function numberOf(json: string): number {
  return json === 'true' || json === 'false' ? Number(json === 'true') : Number(json);
}

/** @returns a value as the number that statistics take, or undefined for a text and for what is not finite */
export function measurable(value: ChannelValue | null): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  return typeof value === 'boolean' ? Number(value) : undefined;
}

function textBetween(payload: Uint8Array, from: number, to: number): string {
  return bytesOf(payload).toString('latin1', from, to);
}

function bytesOf(payload: Uint8Array): Buffer {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
}
