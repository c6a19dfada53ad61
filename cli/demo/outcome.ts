/** What the demo's database holds in the end, counted row by row. */
import type { Withheld } from '../../auditor/withheld.ts';
import { withheldIn } from '../../auditor/withheld.ts';
import { watchCursor } from '../../bpm/watcher.ts';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { countUnjudged } from '../../database/processes-backlog.ts';
import { countWorkflows } from '../../database/processes-lists.ts';
import type { WorkflowCounts } from '../../database/processes-lists.ts';
import { countTakenByDevice } from '../../database/taken-by-device.ts';
import type { Taken } from '../../database/taken-by-device.ts';
import { countSnapshots, readTotals } from '../../database/totals.ts';
import type { DemoPlan } from './topology.ts';
import { auditorData, demoDatabaseUrl } from './users.ts';

export interface Outcome {
  readonly stored: number;
  readonly duplicated: number;
  readonly redelivered: number;
  readonly deadLetters: number;
  readonly takenByDevice: ReadonlyMap<string, Taken>;
  readonly workflows: WorkflowCounts;
}

const everyone = '';

export function readOutcome(plan: DemoPlan): Promise<Outcome> {
  return withDatabase(plan, async (database) => {
    const { redelivered, deadLetters } = await readTotals(database, everyone);
    return {
      ...(await countSnapshots(database, everyone)),
      redelivered,
      deadLetters,
      takenByDevice: await countTakenByDevice(database),
      workflows: await countWorkflows(database, everyone),
    };
  });
}

/** @returns how many envelopes have arrived, snapshots and answers to commands alike */
export function countTakenOf(plan: DemoPlan): Promise<number> {
  return withDatabase(plan, async (database) => {
    const taken = [...(await countTakenByDevice(database)).values()];
    return taken.reduce((sum, { snapshots, others }) => sum + snapshots + others, 0);
  });
}

/** @returns by device, what its owner's auditor holds or has denied; it does not leave, and is not lost */
export function readWithheld(plan: DemoPlan): ReadonlyMap<string, Withheld> {
  const enforcing = plan.customers.filter(({ auditor }) => auditor?.mode === 'enforce');
  return new Map(enforcing.flatMap(({ masterAccount }) => [...withheldIn(auditorData(plan, masterAccount))]));
}

/** @returns how many stored snapshots the workflow engine has not judged yet */
export function countUnjudgedOf(plan: DemoPlan): Promise<number> {
  return withDatabase(plan, (database) => countUnjudged(database, watchCursor));
}

async function withDatabase<Result>(
  plan: DemoPlan,
  work: (database: Database) => Promise<Result>,
): Promise<Result> {
  const database = await connectDatabase(demoDatabaseUrl(plan));
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}
