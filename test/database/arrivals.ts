/** Snapshots as the backend hands them to the database, made for tests. */
import { createHash } from 'node:crypto';
import type { Arrival } from '../../database/ingest.ts';
import type { Reading } from '../../domain/snapshot.ts';

export const startMs = Date.UTC(2026, 0, 1);

/** @param variant - another one makes another envelope of the same sequence */
export function digestOf(device: string, sequence: number, variant = 0): Buffer {
  return createHash('sha256').update(`${device}/${sequence}/${variant}`).digest();
}

export function arrival(
  device: string,
  sequence: number,
  readings: readonly Reading[] = [{ channel: 'fuel.flow', unit: 'l/h', value: sequence }],
  options: { readonly variant?: number; readonly deviceType?: string; readonly timeMs?: number } = {},
): Arrival {
  return {
    device,
    sequence,
    digest: digestOf(device, sequence, options.variant ?? 0),
    ...(sequence > 1 ? { previousDigest: digestOf(device, sequence - 1) } : {}),
    signer: Buffer.alloc(32, 7),
    receivedMs: startMs + sequence * 1000 + 50,
    snapshot: {
      timeMs: options.timeMs ?? startMs + sequence * 1000,
      deviceType: options.deviceType ?? 'FM',
      readings,
    },
  };
}
