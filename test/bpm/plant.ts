/** A database with devices that report, and the parts of bpm that read it; for tests. */
import type { TestContext } from 'node:test';
import type { Reading } from '../../domain/snapshot.ts';
import type { Database } from '../../database/connect.ts';
import { createIngest } from '../../database/ingest.ts';
import type { Definitions } from '../../bpm/definitions.ts';
import { loadDefinitions } from '../../bpm/definitions.ts';
import type { Recipients } from '../../bpm/recipients.ts';
import { loadRules } from '../../bpm/rules.ts';
import type { RowContext } from '../../bpm/rows.ts';
import type { Watcher, WatchResult } from '../../bpm/watcher.ts';
import { createWatcher } from '../../bpm/watcher.ts';
import type { EngineName } from '../database/engines.ts';
import { freshDatabase } from '../database/engines.ts';
import { arrival, startMs } from '../database/arrivals.ts';

export const allChannels: Recipients = {
  channels: ['mail', 'sms', 'webhook'],
  list: ['list@example.org'],
  webhook: 'http://hook.example.org/',
  technician: { mail: 'tech@example.org', phone: '+49 30 1' },
};

export interface Plant {
  readonly database: Database;
  readonly definitions: Definitions;
  readonly watcher: Watcher;
  readonly rowContext: () => RowContext;
  nowMs: number;
  /** Stores a snapshot of fuel meters with this `fault.code` each, with the next sequence. */
  report(device: string, ...faultCodes: readonly number[]): Promise<void>;
  reportReadings(device: string, deviceType: string, readings: readonly Reading[]): Promise<void>;
  /** Judges until nothing is left. */
  judge(): Promise<WatchResult>;
}

export async function createPlant(context: TestContext, engine: EngineName): Promise<Plant> {
  const database = await freshDatabase(context, engine);
  const definitions = await loadDefinitions('bpm/processes', database, () => startMs);
  const ingest = createIngest(database);
  const sequences = new Map<string, number>();
  const next = (device: string): number => {
    const sequence = (sequences.get(device) ?? 0) + 1;
    sequences.set(device, sequence);
    return sequence;
  };
  let ids = 0;
  const rowContext = (): RowContext => ({
    nowMs: plant.nowMs,
    newId: () => `id-${String(++ids).padStart(6, '0')}`,
    recipients: allChannels,
  });
  const watcher = createWatcher({
    database,
    rules: loadRules('bpm/rules'),
    definition: definitions.condition,
    rowContext,
  });
  const plant: Plant = {
    database,
    definitions,
    watcher,
    rowContext,
    nowMs: startMs,
    report: async (device, ...faultCodes) => {
      await ingest.storeBatch(
        faultCodes.map((value) => arrival(device, next(device), [{ channel: 'fault.code', value }])),
      );
    },
    reportReadings: async (device, deviceType, readings) => {
      await ingest.storeBatch([arrival(device, next(device), readings, { deviceType })]);
    },
    judge: async () => {
      const total = { snapshots: 0, started: { normal: 0, abnormal: 0, overdue: 0 }, repeated: 0 };
      for (;;) {
        const result = await watcher.judgeBatch();
        if (result === undefined || result.snapshots === 0) return total;
        total.snapshots += result.snapshots;
        total.repeated += result.repeated;
        for (const key of ['normal', 'abnormal', 'overdue'] as const)
          total.started[key] += result.started[key];
      }
    },
  };
  return plant;
}
