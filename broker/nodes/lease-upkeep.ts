/** What the active node does for as long as it is: renews its lease, and shortens the log that the others follow. */
import { errorText } from '../../domain/error-text.ts';
import type { Log } from '../../runtime/log.ts';
import type { Replicator } from './replicator.ts';
import type { SharedLog } from './shared-log.ts';
import type { SnapshotDesk } from './snapshot-desk.ts';

export interface LeaseUpkeepOptions {
  readonly log: Log;
  readonly sharedLog: Pick<SharedLog, 'renew' | 'trim'>;
  readonly replicator: Pick<Replicator, 'place' | 'confirmed' | 'compare'>;
  readonly snapshots: Pick<SnapshotDesk, 'awaitedPosition'>;
  readonly leaseMs: number;
  /** Another node has the lease by now. */
  readonly onFenced: () => void;
}

const renewalsPerLease = 3;
const leasesPerTrim = 2;

/** @returns ends it */
export function keepLease(options: LeaseUpkeepOptions): () => void {
  const { leaseMs } = options;
  const timers = [
    setInterval(() => void renew(options), leaseMs / renewalsPerLease),
    setInterval(() => void trim(options), leaseMs * leasesPerTrim),
  ];
  return () => timers.forEach(clearInterval);
}

async function renew({ log, sharedLog, replicator, onFenced }: LeaseUpkeepOptions): Promise<void> {
  try {
    const renewed = await sharedLog.renew({ ...replicator.place, position: replicator.confirmed });
    if (renewed.kind === 'fenced') onFenced();
    else replicator.compare(renewed.kind === 'ok' ? renewed.position : undefined);
  } catch (error) {
    log.debug({ reason: errorText(error) }, 'node.renewal_failed');
  }
}

async function trim({ log, sharedLog, replicator, snapshots }: LeaseUpkeepOptions): Promise<void> {
  try {
    // Who gets a snapshot follows from there: what is written meanwhile must not be gone when it is in place.
    const { trimmed, first } = await sharedLog.trim(replicator.place, snapshots.awaitedPosition);
    if (trimmed > 0) log.debug({ trimmed, first }, 'log.trimmed');
  } catch (error) {
    log.debug({ reason: errorText(error) }, 'log.trim_failed');
  }
}
