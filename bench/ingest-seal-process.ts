/** Seals the telemetry of machines for `npm run bench -- ingest`, and writes it to stdout: length, machine, envelope. */
import { once } from 'node:events';
import { FleetDevice } from './fleet-site.ts';
import { machinePath, machines, telemetry } from './telemetry.ts';

const [directory = '', snapshots = '', channels = ''] = process.argv.slice(2);
const devices = Array.from(
  { length: machines },
  (_, index) => new FleetDevice(directory, machinePath(index)),
);
const byPath = new Map(devices.map((device, index) => [String(device.path), { device, index }]));

for (const { device: name, snapshot } of telemetry(Math.ceil(Number(snapshots) / machines))) {
  const found = byPath.get(name);
  if (found === undefined || snapshot === undefined) throw new Error(`no keys for ${name}`);
  const readings = snapshot.readings.slice(0, Number(channels));
  const envelope = found.device.seal({ ...snapshot, readings });
  const head = Buffer.alloc(6);
  head.writeUInt32BE(envelope.length, 0);
  head.writeUInt16BE(found.index, 4);
  if (!process.stdout.write(Buffer.concat([head, envelope]))) await once(process.stdout, 'drain');
}
