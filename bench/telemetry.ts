/**
 * A year of telemetry for benches: machines of one type with 340 channels of every kind, the same for the same seed.
 * Of the channels 150 are measured (walks with noise, one or two decimals), 50 count up, 60 are settings that seldom
 * change, 40 are booleans, 30 enumerations and 10 short texts.
 */
import { createHash } from 'node:crypto';
import type { Arrival } from '../database/ingest.ts';
import type { ChannelValue, Reading } from '../domain/snapshot.ts';

export const channelsOfMachine = 340;
export const machines = 20;
export const machineType = 'MACHINE';
export const startMs = Date.UTC(2025, 0, 1);
const yearMs = 365 * 24 * 3_600_000;
/** Now and then a measured value of these machines leaves its usual range. */
const spikingMachines: ReadonlySet<number> = new Set([3, 11, 17]);
const spikeShare = 1 / 2000;
export const usualMax = 200;
export const spikeValue = 1000;

interface Channel {
  readonly name: string;
  readonly unit?: string;
  /** @returns the next value after `before` */
  readonly next: (before: ChannelValue | undefined, random: () => number) => ChannelValue;
}

const modes = ['off', 'standby', 'warm-up', 'running', 'cool-down', 'fault'];
const channels: readonly Channel[] = [
  ...many(90, 'process.temperature', (name) => walk(name, 'Cel', 0.4, 1)),
  ...many(60, 'process.flow', (name) => walk(name, 'l/h', 0.06, 2)),
  ...many(50, 'counter.litres', counting),
  ...many(60, 'setting.limit', (name) => seldom(name, 1 / 500, (random) => Math.round(random() * 1000) / 10)),
  ...many(40, 'state.valve', (name) => seldom(name, 1 / 50, (random) => random() < 0.5)),
  ...many(30, 'mode.unit', (name) =>
    seldom(name, 1 / 100, (random) => modes[Math.floor(random() * 6)] ?? 'off'),
  ),
  ...many(10, 'identity.part', (name) =>
    seldom(name, 1 / 5000, (random) => `SN-${Math.floor(random() * 1e6)}`),
  ),
];

export const measuredChannels: readonly string[] = channels.slice(0, 150).map(({ name }) => name);

function many(count: number, name: string, make: (name: string) => Channel): Channel[] {
  return Array.from({ length: count }, (_, index) => make(`${name}-${index + 1}`));
}

function walk(name: string, unit: string, step: number, decimals: number): Channel {
  const scale = 10 ** decimals;
  return {
    name,
    unit,
    next: (before, random) => {
      const from = typeof before === 'number' && before < usualMax ? before : 80 + 40 * random();
      const to = from + (random() - 0.5) * step * 2 + (100 - from) * 0.01;
      return Math.round(to * scale) / scale;
    },
  };
}

function counting(name: string): Channel {
  return { name, unit: 'l', next: (before, random) => Number(before ?? 0) + Math.floor(random() * 20) };
}

function seldom(name: string, share: number, make: (random: () => number) => ChannelValue): Channel {
  return {
    name,
    next: (before, random) => (before === undefined || random() < share ? make(random) : before),
  };
}

/** A small generator of Marsaglia's xorshift family (JSS 8/14, 2003). @returns numbers from 0 to 1, without 1 */
export function seeded(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export function machinePath(index: number): string {
  return `ms-acc-1/acc-${(index % 4) + 1}/machine-${index + 1}`;
}

/** @returns when the last of `snapshots` a machine was taken */
export function endMs(snapshots: number): number {
  return startMs + Math.floor((yearMs * snapshots) / (snapshots + 1));
}

/** One snapshot of a machine. */
export interface Sample {
  readonly sequence: number;
  readonly timeMs: number;
  /** In the order of the channels; the same array each time. */
  readonly values: readonly ChannelValue[];
}

/** @returns the snapshots of one machine in the order of time, a year long, however many they are */
export function* samplesOf(machine: number, snapshots: number): Generator<Sample> {
  const random = seeded(machine + 1);
  const isSpiking = spikingMachines.has(machine);
  const before = channels.map((): ChannelValue | undefined => undefined);
  const values = channels.map((): ChannelValue => 0);
  for (let sequence = 1; sequence <= snapshots; sequence++) {
    for (const [index, { next }] of channels.entries()) {
      const value = next(before[index], random);
      before[index] = value;
      const isSpike = isSpiking && index < measuredChannels.length && random() < spikeShare;
      values[index] = isSpike ? spikeValue : value;
    }
    const timeMs = startMs + Math.floor((yearMs * sequence) / (snapshots + 1) + random() * 500);
    yield { sequence, timeMs, values };
  }
}

/** @returns what ingest would be handed for the sample */
export function arrivalOf(machine: number, { sequence, timeMs, values }: Sample): Arrival {
  const device = machinePath(machine);
  return {
    device,
    sequence,
    digest: digestOf(device, sequence),
    ...(sequence === 1 ? {} : { previousDigest: digestOf(device, sequence - 1) }),
    signer,
    receivedMs: timeMs + receiveDelayMs,
    snapshot: {
      timeMs,
      deviceType: machineType,
      readings: channels.map(({ name, unit }, index): Reading => {
        const value = values[index] ?? 0;
        return unit === undefined ? { channel: name, value } : { channel: name, unit, value };
      }),
    },
  };
}

export const signer = Buffer.alloc(32, 1);
export const receiveDelayMs = 1000;

export function digestOf(device: string, sequence: number): Buffer {
  return createHash('sha256').update(`${device} ${sequence}`).digest();
}

/** @returns every machine's snapshots in the order of time, a year long, however many they are */
export function* telemetry(snapshotsPerMachine: number): Generator<Arrival> {
  const all = Array.from({ length: machines }, (_, index) => samplesOf(index, snapshotsPerMachine));
  for (let sequence = 1; sequence <= snapshotsPerMachine; sequence++) {
    for (const [index, samples] of all.entries()) {
      const { value, done } = samples.next();
      if (done !== true) yield arrivalOf(index, value);
    }
  }
}
