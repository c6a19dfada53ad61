/** Replay: a recorded file goes through a fleet, as fast as it goes or at a given pace. */
import type { Clock } from '../../domain/clock.ts';
import type { Wait } from '../../runtime/wait.ts';
import type { Collected, Collector, Sample } from './collector.ts';
import { CollectorError } from './collector.ts';
import { collectCmapss } from './cmapss.ts';
import type { CsvOptions } from './csv.ts';
import { collectCsv } from './csv.ts';
import type { IsTaken } from './resume.ts';
import { skipTaken } from './resume.ts';

export type ReplaySource =
  | { readonly format: 'cmapss'; readonly file: string }
  | { readonly format: 'csv'; readonly file: string; readonly csv: CsvOptions };

/** Snapshots per second and machine; `max` leaves the pace to the outbox. */
export type ReplaySpeed = number | 'max';

/** What a paced replay holds in memory at most: about 150 MB of C-MAPSS rows. */
export const pacedSnapshotsMax = 100_000;

/**
 * Replays a file.
 *
 * At `max` the samples come in the order of the file, streamed. At a pace all machines of the file run side by side,
 * so the file is read whole first.
 *
 * @param assign - from the source's name of a machine to the device that plays it; undefined leaves the machine out
 * @param isTaken - asked with the assigned device
 * @returns samples whose `device` is the assigned one
 * @throws CollectorError `collector.unreadable`, `collector.format`
 */
export async function* replay(
  source: ReplaySource,
  speed: ReplaySpeed,
  assign: (machine: string) => string | undefined,
  isTaken: IsTaken,
  clock: Clock,
  wait: Wait,
): Collector {
  const assigned = skipTaken(assignDevices(openSource(source), assign), isTaken);
  if (speed === 'max') yield* assigned;
  else yield* paced(source.file, assigned, speed, clock, wait);
}

function openSource(source: ReplaySource): Collector {
  return source.format === 'cmapss' ? collectCmapss(source.file) : collectCsv(source.file, source.csv);
}

async function* assignDevices(
  collector: Collector,
  assign: (machine: string) => string | undefined,
): Collector {
  for await (const item of collector) {
    if (item.kind === 'rejected') {
      yield item;
      continue;
    }
    const device = assign(item.device ?? '');
    if (device !== undefined) yield { ...item, device };
  }
}

async function* paced(
  file: string,
  collector: Collector,
  perSecond: number,
  clock: Clock,
  wait: Wait,
): Collector {
  const machines = new Map<string, Sample[]>();
  const rejected: Collected[] = [];
  let held = 0;
  for await (const item of collector) {
    if (item.kind === 'rejected') {
      rejected.push(item);
    } else {
      const samples = machines.get(item.device ?? '');
      if (samples === undefined) machines.set(item.device ?? '', [item]);
      else samples.push(item);
    }
    held += 1;
    if (held > pacedSnapshotsMax) {
      const advice = 'replay it with speed "max", or cut it';
      throw new CollectorError(
        'collector.format',
        `${file} has more than ${pacedSnapshotsMax} rows: ${advice}`,
      );
    }
  }
  yield* rejected;
  yield* sideBySide(machines, perSecond, clock, wait);
}

/** Round after round, one sample of each machine, spread evenly over the round. */
async function* sideBySide(
  machines: ReadonlyMap<string, readonly Sample[]>,
  perSecond: number,
  clock: Clock,
  wait: Wait,
): Collector {
  const startMs = clock();
  const roundMs = 1000 / perSecond;
  const rounds = Math.max(0, ...Array.from(machines.values(), (samples) => samples.length));
  for (let round = 0; round < rounds; round++) {
    let place = 0;
    for (const samples of machines.values()) {
      const dueMs = startMs + roundMs * (round + place++ / machines.size);
      const sample = samples[round];
      if (sample === undefined) continue;
      if (dueMs > clock() && !(await wait(dueMs - clock()))) return;
      yield sample;
    }
  }
}
