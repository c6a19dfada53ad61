/** Every value as it rests, in either form. */
import assert from 'node:assert/strict';
import type { Database } from '../../database/connect.ts';
import { inSnapshot } from '../../database/statements.ts';
import { placeColumns } from '../../database/storage.ts';
import type { DevicePlace } from '../../database/storage.ts';
import { storageOf } from '../../database/storage-of.ts';
import type { ChannelValue } from '../../domain/snapshot.ts';

const endMs = 8.64e15;

/** @returns `sequence/channel` → time and value, of the one device that there is */
export async function valuesAtRest(
  database: Database,
): Promise<Map<string, readonly [timeMs: number, value: ChannelValue]>> {
  const storage = await storageOf(database);
  return inSnapshot(database, async (statements) => {
    const channels = await statements.all<{ id: number; name: string }>('select id, name from channel', []);
    const names = new Map(channels.map(({ id, name }) => [id, name]));
    const devices = await statements.all<DevicePlace>(`select ${placeColumns('d')} from device d`, []);
    const [device] = devices;
    assert.ok(device !== undefined && devices.length === 1);
    const ids = await storage.readChannelIds(statements, device.id);
    const found = new Map<string, readonly [number, ChannelValue]>();
    for (let fromMs = -endMs; fromMs < endMs;) {
      const piece = await storage.readPiece(statements, device, { fromMs, toMs: endMs }, ids);
      for (const { sequence, timeMs, values } of piece.snapshots) {
        for (const [id, value] of values) {
          const key = `${sequence}/${names.get(id)}`;
          assert.ok(!found.has(key), `${key} rests twice`);
          found.set(key, [timeMs, value]);
        }
      }
      fromMs = piece.untilMs + 1;
    }
    return found;
  });
}
