/** Stores the snapshots 1, 2, 3 … of some devices, says on stdout what is stored, and is killed while it does. */
import { connectDatabase } from '../../database/connect.ts';
import { createIngest } from '../../database/ingest.ts';
import { migrate } from '../../database/migrate.ts';
import { arrival } from './arrivals.ts';

const [url = '', devices = '', from = '', batchSize = ''] = process.argv.slice(2);
const database = await connectDatabase(url);
await migrate(database);
const ingest = createIngest(database);
for (let next = Number(from); ; next += Number(batchSize)) {
  const sequences = Array.from({ length: Number(batchSize) }, (_, index) => next + index);
  await ingest.storeBatch(
    devices
      .split(',')
      .flatMap((device) =>
        sequences.map((sequence) => arrival(device, sequence, [{ channel: 'x', value: sequence / 3 }])),
      ),
  );
  // Written before the next batch begins, so whatever the parent has read was acknowledged.
  await new Promise((resolve) => {
    process.stdout.write(`${next + Number(batchSize) - 1}\n`, resolve);
  });
}
