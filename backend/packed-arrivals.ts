/**
 * Opened envelopes as octets: from the thread that opened them to the one that stores them, which alone unpacks them. What the
 * database once said about the channels of a layout lets the first one write a snapshot as it will rest, and the second need
 * not look into it.
 */
import { createHash } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import { decodePairs, encodeValues } from '../database/head.ts';
import type { Arrival, EncodedSnapshot, Resolution } from '../database/ingest.ts';
import type { CommandResult } from '../domain/command.ts';
import type { ChannelValue } from '../domain/snapshot.ts';
import { snapshotOf } from '../domain/snapshot-layout.ts';
import type { LaidOutSnapshot, SnapshotLayout } from '../domain/snapshot-layout.ts';
import type { OpenedArrival } from './decryptor.ts';

export interface OpenedPair {
  readonly arrival: OpenedArrival;
  readonly result: CommandResult | undefined;
}

/** What the database said about the channels of a layout. */
export interface KnownLayout extends Resolution {
  readonly key: string;
}

interface PackedArrival {
  readonly arrival: Omit<OpenedArrival, 'snapshot'>;
  readonly result: CommandResult | undefined;
  readonly layoutKey: string | undefined;
  readonly timeMs: number;
  /** Octets within octets, unpacked where they are needed; absent beside `encoded`, which says the same. */
  readonly values: Uint8Array | undefined;
  readonly encoded: EncodedSnapshot | undefined;
}

interface PackedLayout {
  /** Octets too. */
  readonly layout: Uint8Array;
  /** Of `encoded`. */
  readonly channelIds: readonly number[] | undefined;
}

interface Pack {
  readonly layouts: ReadonlyMap<string, PackedLayout>;
  readonly arrivals: readonly PackedArrival[];
}

const layoutsMax = 256;

/** Packs, and remembers what it is told of layouts. */
export class Packer {
  /** The one told longest ago first. */
  readonly #known = new Map<string, KnownLayout>();

  learn(layouts: readonly KnownLayout[]): void {
    for (const layout of layouts) {
      this.#known.delete(layout.key);
      this.#known.set(layout.key, layout);
    }
    for (const key of this.#known.keys()) {
      if (this.#known.size <= layoutsMax) return;
      this.#known.delete(key);
    }
  }

  pack(pairs: readonly OpenedPair[]): Uint8Array {
    const layouts = new Map<string, PackedLayout>();
    const arrivals = pairs.map(({ arrival: { snapshot, ...arrival }, result }): PackedArrival => {
      if (snapshot === undefined)
        return { arrival, result, layoutKey: undefined, timeMs: 0, values: undefined, encoded: undefined };
      const { layout, timeMs, values } = snapshot;
      const { key, octets } = identityOf(layout);
      const known = this.#known.get(key);
      layouts.set(key, { layout: octets, channelIds: known?.channelIds });
      const encoded = known && encodedBy(known, snapshot);
      return {
        arrival,
        result,
        layoutKey: key,
        timeMs,
        values: encoded === undefined ? serialize(values) : undefined,
        encoded,
      };
    });
    return serialize({ layouts, arrivals } satisfies Pack);
  }
}

/** An arrival for the database, and how to have it whole. */
export interface Unpacked {
  /** With `encoded` in the place of the snapshot, if that could be. */
  readonly arrival: Arrival;
  readonly whole: () => Arrival;
  readonly result: CommandResult | undefined;
  readonly layoutKey: string | undefined;
}

export function unpackArrivals(packed: Uint8Array): readonly Unpacked[] {
  const { layouts, arrivals } = deserialize(packed) as Pack; // our own encoding
  const unpacked = new Map<string, SnapshotLayout>();
  const layoutOf = (key: string, { layout }: PackedLayout): SnapshotLayout => {
    const known = unpacked.get(key) ?? (deserialize(layout) as SnapshotLayout);
    unpacked.set(key, known);
    return known;
  };
  return arrivals.map((one) => {
    const { arrival, result, layoutKey, timeMs, encoded } = one;
    const found = layoutKey === undefined ? undefined : layouts.get(layoutKey);
    const whole = (): Arrival => {
      if (layoutKey === undefined || found === undefined) return arrival;
      const layout = layoutOf(layoutKey, found);
      return { ...arrival, snapshot: snapshotOf({ timeMs, layout, values: valuesOf(one, found) }) };
    };
    return { arrival: encoded === undefined ? whole() : { ...arrival, encoded }, whole, result, layoutKey };
  });
}

function valuesOf(
  { values, encoded }: PackedArrival,
  { channelIds = [] }: PackedLayout,
): readonly ChannelValue[] {
  if (encoded === undefined) return deserialize(values ?? new Uint8Array()) as ChannelValue[];
  const found = new Map(decodePairs(encoded.payload));
  return channelIds.map((id) => found.get(id) ?? 0);
}

function encodedBy(
  { typeId, epoch, channelIds }: KnownLayout,
  { timeMs, values }: LaidOutSnapshot,
): EncodedSnapshot {
  return { typeId, epoch, timeMs, payload: encodeValues(channelIds, values) };
}

interface LayoutIdentity {
  /** The same for the same names, units and kinds, in all threads. */
  readonly key: string;
  /** Serialized. */
  readonly octets: Uint8Array;
}

const identities = new WeakMap<SnapshotLayout, LayoutIdentity>();

function identityOf(layout: SnapshotLayout): LayoutIdentity {
  const known = identities.get(layout);
  if (known !== undefined) return known;
  const { deviceType, channels, units, kinds } = layout;
  const text = JSON.stringify([deviceType, channels, units.map((unit) => unit ?? null), kinds]);
  const key = createHash('sha256').update(text).digest('base64url');
  const identity = { key, octets: serialize(layout) };
  identities.set(layout, identity);
  return identity;
}
