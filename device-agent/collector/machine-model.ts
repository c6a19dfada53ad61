/** The machine behind the simulator: load, heat, wear, hours and faults, from which every channel follows. */
import type { Random } from './random.ts';
import { boundedNoise, seededRandom } from './random.ts';

export const machineConditions = ['healthy', 'wearing', 'faulty', 'overdue'] as const;
export type MachineCondition = (typeof machineConditions)[number];

export interface MachineOptions {
  readonly condition: MachineCondition;
  /** The same seed and the same times give the same machine. */
  readonly seed: number;
  /** Hours of the machine's life per hour of the clock: 3,600 makes a second an hour, so that wear shows in a demonstration. */
  readonly timeFactor: number;
}

/** What the channels of one sample are computed from. */
export interface MachineState {
  /** Of the maximum; 0 to 1. */
  readonly load: number;
  readonly ambientCelsius: number;
  /** Above ambient, by load and wear; slower than the load. */
  readonly heatKelvin: number;
  /** 0 is new, 1 is worn out; of the part with that number. Each part has its own life. */
  readonly wear: readonly [number, number, number, number];
  readonly operatingHours: number;
  readonly hoursSinceService: number;
  readonly serviceIntervalHours: number;
  readonly powerCycles: number;
  /** 0: none. */
  readonly faultCode: number;
  /** Moves with what the machine measures (flow, particles); 0.9 to 1.1. */
  readonly process: number;
  /** Noise of this sample, about normal, bounded at three sigma. */
  readonly noise: (sigma: number) => number;
}

export interface Machine {
  /** @param timeMs - not before the time of the call before */
  at(timeMs: number): MachineState;
}

/** Hours and wear are functions of the time since then, so that a restart neither resets nor repeats a counter. */
const epochMs = Date.UTC(2020, 0, 1);
const hourMs = 3_600_000;
const serviceIntervalHours = 2000;
/** How much of its time a machine runs. */
const dutyMin = 0.3;
const dutySpan = 0.4;
const hoursPerPowerCycle = 9;
/** Hours from new to worn out, per part. */
const lifeHours = [9000, 4000, 16_000, 25_000] as const;
const faultCodes = [17, 23, 41] as const;

/** Of a life or a service interval: where a machine of this condition is, from and to. */
const ranges: Readonly<Record<MachineCondition, { wear: [number, number]; service: [number, number] }>> = {
  healthy: { wear: [0.04, 0.45], service: [0.02, 0.8] },
  wearing: { wear: [0.68, 0.93], service: [0.6, 0.97] },
  faulty: { wear: [0.8, 0.97], service: [0.3, 0.9] },
  overdue: { wear: [0.4, 0.7], service: [1.02, 1.35] },
};

export function createMachine(options: MachineOptions): Machine {
  const random = seededRandom(options.seed);
  const traits = {
    duty: dutyMin + dutySpan * random(),
    initialHours: 500 + 4000 * random(),
    ambientCelsius: 19 + 4 * random(),
    phases: [random(), random(), random(), random(), random()] as const,
    faultCode: faultCodes[Math.floor(random() * faultCodes.length)] ?? faultCodes[0],
  };
  const range = ranges[options.condition];
  const fast = { load: 0.6, heat: 0, process: 1, started: false };
  return {
    at(timeMs) {
      const elapsedHours = (Math.max(0, timeMs - epochMs) / hourMs) * options.timeFactor;
      const runHours = elapsedHours * traits.duty;
      const [pump, filter, bearing, electronics, service] = traits.phases;
      const wearOf = (phase: number, life: number): number => within(range.wear, phase + runHours / life);
      const wear = [
        wearOf(pump, lifeHours[0]),
        wearOf(filter, lifeHours[1]),
        wearOf(bearing, lifeHours[2]),
        wearOf(electronics, lifeHours[3]),
      ] as const;
      stepFast(fast, wear[2], options.condition, random);
      return {
        load: fast.load,
        ambientCelsius: traits.ambientCelsius + 2 * Math.sin((timeMs / (24 * hourMs)) * 2 * Math.PI),
        heatKelvin: fast.heat,
        wear: [wear[0], wear[1], wear[2], wear[3]],
        operatingHours: traits.initialHours + runHours,
        hoursSinceService:
          serviceIntervalHours * within(range.service, service + runHours / serviceIntervalHours),
        serviceIntervalHours,
        powerCycles: Math.floor((traits.initialHours + runHours) / hoursPerPowerCycle),
        faultCode: options.condition === 'faulty' ? traits.faultCode : 0,
        process: fast.process,
        noise: (sigma) => boundedNoise(random, sigma),
      };
    },
  };
}

/** A value that rises through the range and then begins anew: a part is replaced, a service is done. */
function within([from, to]: readonly [number, number], position: number): number {
  return from + (to - from) * (position - Math.floor(position));
}

/** Load and process wander and return to their middle; heat follows the load slowly. */
function stepFast(
  fast: { load: number; heat: number; process: number; started: boolean },
  bearingWear: number,
  condition: MachineCondition,
  random: Random,
): void {
  fast.load = clamp(fast.load + 0.05 * (0.6 - fast.load) + boundedNoise(random, 0.02), 0.2, 1);
  fast.process = clamp(fast.process + 0.1 * (1 - fast.process) + boundedNoise(random, 0.008), 0.9, 1.1);
  // A faulty machine runs 40 K hotter: beyond any limit that leaves room for a worn one.
  const target = 8 + 14 * fast.load + 5 * bearingWear + (condition === 'faulty' ? 40 : 0);
  fast.heat = fast.started ? fast.heat + 0.1 * (target - fast.heat) : target;
  fast.started = true;
}

export function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}
