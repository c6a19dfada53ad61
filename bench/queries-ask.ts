/** The questions of the bench, asked at random places in a fixed order, and how long the answers take. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/connect.ts';
import { readExceeding, readExceedingNow } from '../database/exceeds.ts';
import type { Threshold } from '../database/extremes.ts';
import { readFleet } from '../database/fleet.ts';
import { readLatest } from '../database/latest.ts';
import { readManySeries, readSeries } from '../database/series.ts';
import { quantileOf } from './figures.ts';
import { fleetSize } from './queries-build.ts';
import {
  channelsOfMachine,
  endMs,
  machinePath,
  machines,
  machineType,
  measuredChannels,
  seeded,
  startMs,
  usualMax,
} from './telemetry.ts';

/** Milliseconds. */
export interface Times {
  readonly p50: number;
  readonly p95: number;
}

export interface Answered {
  readonly name: string;
  readonly goalMs: number;
  readonly times: Times;
}

export const points = 500;
const pauseMs = 10;

export async function askAll(database: Database, snapshots: number, asks: number): Promise<Answered[]> {
  const random = seeded(7);
  const year = { fromMs: startMs, toMs: endMs(snapshots), points };
  const quarter = { fromMs: startMs, toMs: startMs + (year.toMs - startMs) / 4 };
  const machine = (): string => machinePath(Math.floor(random() * machines));
  const channel = (): string => pick(measuredChannels, random);
  const beyond = (): Threshold => ({
    deviceType: machineType,
    channel: channel(),
    direction: 'above',
    value: usualMax,
  });
  const usual = (): Threshold => ({ ...beyond(), value: 100 });
  const questions: readonly (readonly [string, number, () => Promise<unknown>])[] = [
    [`latest values of a device (${channelsOfMachine})`, 2, () => readLatest(database, machine())],
    [`fleet list of ${fleetSize} devices`, 20, () => readFleet(database, '')],
    [`a channel, a year, ${points} points`, 5, () => readSeries(database, machine(), channel(), year)],
    [
      `three channels, a year, ${points} points`,
      15,
      () => readManySeries(database, machine(), [channel(), channel(), channel()], year),
    ],
    ['exceeded ever (few devices did)', 5, () => readExceeding(database, '', beyond())],
    ['exceeded ever (all devices did)', 5, () => readExceeding(database, '', usual())],
    ['exceeded within three months', 5, () => readExceeding(database, '', beyond(), quarter)],
    ['exceeds now', 5, () => readExceedingNow(database, '', usual())],
  ];
  const answered: Answered[] = [];
  for (const [name, goalMs, ask] of questions) answered.push({ name, goalMs, times: await timed(ask, asks) });
  return answered;
}

/** Between two questions is a pause, as there is between those of people. */
export async function timed(ask: () => Promise<unknown>, asks: number): Promise<Times> {
  const warmUps = Math.ceil(asks / 10);
  const times: number[] = [];
  for (let index = -warmUps; index < asks; index++) {
    await sleep(pauseMs);
    const startedMs = performance.now();
    await ask();
    if (index >= 0) times.push(performance.now() - startedMs);
  }
  return { p50: quantileOf(times, 0.5), p95: quantileOf(times, 0.95) };
}

export function pick<T>(from: readonly T[], random: () => number): T {
  const found = from[Math.floor(random() * from.length)];
  if (found === undefined) throw new Error('there is nothing to pick from');
  return found;
}

/** Milliseconds. */
export function msText(value: number): string {
  return `${value.toFixed(2).padStart(6)} ms`;
}

export function timesText({ p50, p95 }: Times): string {
  return `p50 ${msText(p50)}  p95 ${msText(p95)}`;
}

/** @param values - a number of them */
export function millionsText(values: number): string {
  return `${(values / 1e6).toLocaleString('en', { maximumFractionDigits: 2 })} million`;
}
