/** What the demo's database holds in the end, counted row by row. */
import { connectDatabase } from '../../database/connect.ts';
import { countWorkflows } from '../../database/processes-lists.ts';
import type { WorkflowCounts } from '../../database/processes-lists.ts';
import { countStoredByDevice } from '../../database/stored-by-device.ts';
import { countSnapshots, readTotals } from '../../database/totals.ts';
import type { DemoPlan } from './topology.ts';
import { demoDatabaseUrl } from './users.ts';

export interface Outcome {
  readonly stored: number;
  readonly duplicated: number;
  readonly redelivered: number;
  readonly deadLetters: number;
  readonly storedByDevice: ReadonlyMap<string, number>;
  readonly workflows: WorkflowCounts;
}

const everyone = '';

export async function readOutcome(plan: DemoPlan): Promise<Outcome> {
  const database = await connectDatabase(demoDatabaseUrl(plan));
  try {
    const { redelivered, deadLetters } = await readTotals(database, everyone);
    return {
      ...(await countSnapshots(database, everyone)),
      redelivered,
      deadLetters,
      storedByDevice: await countStoredByDevice(database),
      workflows: await countWorkflows(database, everyone),
    };
  } finally {
    await database.close();
  }
}
