/**
 * Opened envelopes as octets: from the thread that opened them to the one that stores them, which alone unpacks them. What the
 * database once said about the channels of a layout lets the first one write a snapshot as it will rest, and the second need
 * not look into it.
 */
import { createHash } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import { encodePairs } from '../database/head.ts';
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
  /** Octets within octets: unpacked if they are needed. */
  readonly values: Uint8Array | undefined;
  readonly encoded: EncodedSnapshot | undefined;
}

interface Pack {
  readonly layouts: ReadonlyMap<string, SnapshotLayout>;
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
    const layouts = new Map<string, SnapshotLayout>();
    const arrivals = pairs.map(({ arrival: { snapshot, ...arrival }, result }): PackedArrival => {
      const layoutKey = snapshot && keyOf(snapshot.layout);
      if (snapshot !== undefined && layoutKey !== undefined) layouts.set(layoutKey, snapshot.layout);
      return {
        arrival,
        result,
        layoutKey,
        timeMs: snapshot?.timeMs ?? 0,
        values: snapshot && serialize(snapshot.values),
        encoded: snapshot && encodedBy(this.#known.get(layoutKey ?? ''), snapshot),
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
  return arrivals.map(({ arrival, result, layoutKey, timeMs, values, encoded }) => {
    const layout = layouts.get(layoutKey ?? '');
    const whole = (): Arrival =>
      layout === undefined || values === undefined
        ? arrival
        : {
            ...arrival,
            snapshot: snapshotOf({ timeMs, layout, values: deserialize(values) as ChannelValue[] }),
          };
    return { arrival: encoded === undefined ? whole() : { ...arrival, encoded }, whole, result, layoutKey };
  });
}

function encodedBy(
  known: KnownLayout | undefined,
  { timeMs, values }: LaidOutSnapshot,
): EncodedSnapshot | undefined {
  if (known === undefined) return undefined;
  const { typeId, epoch, channelIds } = known;
  const payload = encodePairs(values.map((value, index) => [channelIds[index] ?? 0, value]));
  return { typeId, epoch, timeMs, payload };
}

const keys = new WeakMap<SnapshotLayout, string>();

/** The same for the same names, units and kinds, in all threads. */
function keyOf(layout: SnapshotLayout): string {
  const known = keys.get(layout);
  if (known !== undefined) return known;
  const { deviceType, channels, units, kinds } = layout;
  const text = JSON.stringify([deviceType, channels, units.map((unit) => unit ?? null), kinds]);
  const key = createHash('sha256').update(text).digest('base64url');
  keys.set(layout, key);
  return key;
}
