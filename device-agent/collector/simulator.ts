/** A simulated fuel meter or particle counter, sampled at a fixed interval. */
import type { Clock } from '../../domain/clock.ts';
import type { ChannelValue, Reading, Snapshot } from '../../domain/snapshot.ts';
import type { Wait } from '../../runtime/wait.ts';
import type { Collector } from './collector.ts';
import type { MachineCondition, MachineState } from './machine-model.ts';
import { createMachine } from './machine-model.ts';
import type { SimulatedChannel, SimulatedType } from './simulator-channels.ts';
import { simulatorChannels, usageChannels } from './simulator-channels.ts';

export interface SimulatorOptions {
  readonly type: SimulatedType;
  readonly condition: MachineCondition;
  readonly seed: number;
  readonly intervalMs: number;
  /** @see MachineOptions.timeFactor */
  readonly timeFactor: number;
  /** Every so many samples has the channels of `usageChannels` too; none unless given. */
  readonly usageEvery?: number | undefined;
}

/** Counted from 1: soon enough for whoever waits to see one. */
const firstUsageSample = 3;

/**
 * Samples until `wait` says that it was told to stop. Intervals are counted from the first sample, so that the time
 * a sample takes does not add up; samples that were missed, because the computer slept, are not made up for.
 */
export async function* simulate(options: SimulatorOptions, clock: Clock, wait: Wait): Collector {
  const machine = createMachine(options);
  let dueMs = clock();
  let sample = 0;
  do {
    const timeMs = Math.max(dueMs, clock());
    sample += 1;
    yield {
      kind: 'sample',
      device: undefined,
      snapshot: simulatedSnapshot(
        options.type,
        timeMs,
        machine.at(timeMs),
        hasUsage(sample, options.usageEvery) ? usageChannels : [],
      ),
    };
    const nowMs = clock();
    dueMs += options.intervalMs * Math.max(1, Math.ceil((nowMs - dueMs) / options.intervalMs));
  } while (await wait(dueMs - clock()));
}

function hasUsage(sample: number, every: number | undefined): boolean {
  return every !== undefined && (sample - firstUsageSample) % every === 0;
}

/** @param more - channels beside those of the type */
export function simulatedSnapshot(
  type: SimulatedType,
  timeMs: number,
  machine: MachineState,
  more: readonly SimulatedChannel[] = [],
): Snapshot {
  const readings = [...simulatorChannels[type], ...more].map((row): Reading => {
    const value = rounded(row, row.value(machine));
    return row.unit === undefined
      ? { channel: row.channel, value }
      : { channel: row.channel, unit: row.unit, value };
  });
  return { timeMs: Math.round(timeMs), deviceType: type, readings };
}

function rounded(row: SimulatedChannel, value: ChannelValue): ChannelValue {
  if (typeof value !== 'number' || row.decimals === undefined) return value;
  return Number(value.toFixed(row.decimals));
}
