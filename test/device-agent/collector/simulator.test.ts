import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import type { MachineCondition } from '../../../device-agent/collector/machine-model.ts';
import { createMachine, machineConditions } from '../../../device-agent/collector/machine-model.ts';
import { simulatorChannels, simulatedTypes } from '../../../device-agent/collector/simulator-channels.ts';
import type { SimulatedType } from '../../../device-agent/collector/simulator-channels.ts';
import { simulate, simulatedSnapshot } from '../../../device-agent/collector/simulator.ts';
import type { ChannelValue, Snapshot } from '../../../domain/snapshot.ts';
import { isChannelName } from '../../../domain/snapshot.ts';
import { gathered } from './files.ts';

const startMs = Date.UTC(2026, 0, 1);

function snapshotsOf(
  type: SimulatedType,
  condition: MachineCondition,
  seed: number,
  count: number,
  timeFactor = 1,
): Snapshot[] {
  const machine = createMachine({ condition, seed, timeFactor });
  return Array.from({ length: count }, (_, index) => {
    const timeMs = startMs + index * 1000;
    return simulatedSnapshot(type, timeMs, machine.at(timeMs));
  });
}

function valueOf(snapshot: Snapshot | undefined, channel: string): ChannelValue {
  return (
    snapshot?.readings.find((reading) => reading.channel === channel)?.value ?? assert.fail(`no ${channel}`)
  );
}

const numbersOf = (snapshots: readonly Snapshot[], channel: string): number[] =>
  snapshots.map((snapshot) => Number(valueOf(snapshot, channel)));

test('simulatorChannels: forty channels each, valid names, none twice', () => {
  for (const type of simulatedTypes) {
    const names = simulatorChannels[type].map((row) => row.channel);
    assert.equal(names.length, 40, type);
    assert.equal(new Set(names).size, names.length);
    assert.ok(names.every(isChannelName));
  }
});

test('simulatedSnapshot: the same seed gives the same machine, another seed another', () => {
  assert.deepEqual(snapshotsOf('FM', 'wearing', 7, 20), snapshotsOf('FM', 'wearing', 7, 20));
  assert.notDeepEqual(snapshotsOf('FM', 'wearing', 7, 1), snapshotsOf('FM', 'wearing', 8, 1));
});

test('simulatedSnapshot: the promises to rules hold for every seed and condition', () => {
  const seed = fc.integer({ min: 0, max: 2 ** 31 });
  fc.assert(
    fc.property(
      seed,
      fc.constantFrom(...machineConditions),
      fc.constantFrom(1, 3600),
      (number, condition, factor) => {
        const faulty = condition === 'faulty';
        for (const snapshot of snapshotsOf('FM', condition, number, 40, factor)) {
          assert.equal(Number(valueOf(snapshot, 'fault.code')) !== 0, faulty);
          const celsius = Number(valueOf(snapshot, 'fuel.temperature'));
          assert.ok(faulty ? celsius > 65 : celsius < 55, `${condition}: ${celsius} Cel`);
          const vibration = Number(valueOf(snapshot, 'bearing.vibration'));
          assert.ok(faulty ? vibration > 7 : vibration < 5, `${condition}: ${vibration} m/s2`);
          const overdue =
            Number(valueOf(snapshot, 'service.hours-since')) > Number(valueOf(snapshot, 'service.interval'));
          assert.equal(overdue, condition === 'overdue');
        }
        for (const snapshot of snapshotsOf('PC', condition, number, 40, factor)) {
          const celsius = Number(valueOf(snapshot, 'oil.temperature'));
          assert.ok(faulty ? celsius > 75 : celsius < 68, `${condition}: ${celsius} Cel`);
          const code = Number(valueOf(snapshot, 'particles.iso-code-4um'));
          assert.ok(faulty ? code >= 21 : code <= 19, `${condition}: code ${code}`);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('simulatedSnapshot: every number is finite, and what is left of a part is 0 to 100 %', () => {
  for (const type of simulatedTypes) {
    for (const snapshot of snapshotsOf(type, 'faulty', 3, 50)) {
      for (const { channel, value } of snapshot.readings) {
        if (typeof value === 'number') assert.ok(Number.isFinite(value), channel);
        if (channel.endsWith('.life')) assert.ok(Number(value) >= 0 && Number(value) <= 100, channel);
      }
    }
  }
});

test('simulatedSnapshot: counters never fall, also across a restart', () => {
  const counters = ['counters.operating-hours', 'counters.power-cycles', 'counters.fuel-total'];
  const beforeRestart = snapshotsOf('FM', 'healthy', 5, 30, 3600);
  const machine = createMachine({ condition: 'healthy', seed: 5, timeFactor: 3600 });
  const timeMs = startMs + 60_000;
  const all = [...beforeRestart, simulatedSnapshot('FM', timeMs, machine.at(timeMs))];
  for (const counter of counters) {
    const values = numbersOf(all, counter);
    assert.deepEqual(
      values,
      values.toSorted((left, right) => left - right),
      counter,
    );
  }
});

test('simulatedSnapshot: wear moves with the hours: the life of a part falls until it is replaced', () => {
  const lives = numbersOf(snapshotsOf('FM', 'wearing', 11, 400, 36_000), 'pump.life');
  const steps = lives.slice(1).map((life, index) => life - (lives[index] ?? 0));
  assert.ok(lives[0] !== lives.at(-1));
  // It jumps up when the part is replaced, and never creeps up.
  assert.deepEqual(
    steps.filter((step) => step > 0 && step < 10),
    [],
  );
});

test('simulatedSnapshot: what belongs together moves together', () => {
  const snapshots = snapshotsOf('FM', 'healthy', 2, 600);
  assert.ok(
    correlation(numbersOf(snapshots, 'state.utilisation'), numbersOf(snapshots, 'pump.current')) > 0.9,
  );
  assert.ok(
    correlation(numbersOf(snapshots, 'fuel.temperature'), numbersOf(snapshots, 'fuel.density')) < -0.7,
  );
});

test('simulate: samples at its interval, leaves out what it slept through, and stops when told to', async () => {
  let nowMs = startMs;
  const waits: number[] = [];
  const wait = (delayMs: number): Promise<boolean> => {
    waits.push(delayMs);
    nowMs += waits.length === 2 ? 5500 : delayMs; // the second time the computer sleeps
    return Promise.resolve(waits.length < 4);
  };
  const options = { type: 'FM', condition: 'healthy', seed: 1, intervalMs: 1000, timeFactor: 1 } as const;
  const items = await gathered(simulate(options, () => nowMs, wait));
  assert.deepEqual(
    items.map((item) => (item.kind === 'sample' ? item.snapshot.timeMs - startMs : 0)),
    [0, 1000, 6500, 7000],
  );
  assert.deepEqual(waits, [1000, 1000, 500, 1000]);
});

test('simulate: every so many samples, the third among them, say how hard the machine is driven', async () => {
  let nowMs = startMs;
  const wait = (delayMs: number): Promise<boolean> => {
    nowMs += delayMs;
    return Promise.resolve(nowMs < startMs + 9000);
  };
  const usual = { type: 'PC', condition: 'healthy', seed: 1, intervalMs: 1000, timeFactor: 1 } as const;
  for (const [usageEvery, wanted] of [
    [4, [3, 7]],
    [undefined, []],
  ] as const) {
    nowMs = startMs;
    const items = await gathered(simulate({ ...usual, usageEvery }, () => nowMs, wait));
    const having = items.flatMap((item, index) => {
      const readings = item.kind === 'sample' ? item.snapshot.readings : [];
      return readings.some(({ channel }) => channel.startsWith('usage.')) ? [index + 1] : [];
    });
    assert.equal(items.length, 9);
    assert.deepEqual(having, wanted);
  }
});

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function correlation(left: readonly number[], right: readonly number[]): number {
  const [leftMean, rightMean] = [mean(left), mean(right)];
  let [both, leftOnly, rightOnly] = [0, 0, 0];
  for (const [index, value] of left.entries()) {
    const other = (right[index] ?? 0) - rightMean;
    both += (value - leftMean) * other;
    leftOnly += (value - leftMean) ** 2;
    rightOnly += other ** 2;
  }
  return both / Math.sqrt(leftOnly * rightOnly);
}
