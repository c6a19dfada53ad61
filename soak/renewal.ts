/**
 * A device agent is killed with SIGKILL before every step on the disk of a renewal and of a hand-over, and started again:
 * it ends with a working identity each time, and nothing that it sealed is lost. The suite cuts the power within a process.
 */
import path from 'node:path';
import { openReader } from '../test/device-agent/key-slots/field.ts';
import { byKill, handOver, interrupt, renewal } from '../test/device-agent/key-slots/interrupted.ts';
import { openVendor } from '../test/registrar/fixture.ts';
import type { Outcome, SoakOptions } from './outcome.ts';

/** More than there are. */
const stepsMax = 200;

export async function soakRenewal({ onProgress }: SoakOptions): Promise<Outcome> {
  const vendor = await openVendor();
  const violations: string[] = [];
  const figures: Record<string, number> = {};
  try {
    await vendor.startRegistrar();
    const field = { vendor, reader: await openReader(vendor) };
    process.env['NODE_COMPILE_CACHE'] = path.join(vendor.site.directory, 'compiled');
    for (const [name, kind] of Object.entries({ renewal, handOver })) {
      for (let at = 1, isOver = false; !isOver && at <= stepsMax; at++) {
        try {
          const wasKilled = await interrupt(field, kind, byKill(vendor.site.directory), { number: at, at });
          if (wasKilled) figures[name] = at;
          isOver = !wasKilled;
        } catch (error) {
          violations.push(`${name}, before step ${at}: ${String(error)}`);
        }
        onProgress(`${name}: ${at} kills, ${violations.length} violations`);
      }
    }
    return { violations, figures };
  } finally {
    await vendor.remove();
  }
}
