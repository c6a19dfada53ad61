/**
 * NASA's recordings C-MAPSS FD001 and FD002 through the whole chain as fast as it goes: agents → a customer's broker → the
 * vendor's broker → backend → database. Then every value is compared with the files.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Supervisor } from '../cli/demo/supervisor.ts';
import { writeConfigs } from '../cli/deployment/configs.ts';
import { makeKeys } from '../cli/deployment/keys.ts';
import type { AgentPlan, DeploymentPlan, ListenPlan } from '../cli/deployment/plan.ts';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { exportDevice } from '../database/export.ts';
import { countSnapshots, readTotals } from '../database/totals.ts';
import { cmapssColumns, cmapssCycleMs, cmapssStartMs } from '../device-agent/collector/cmapss.ts';
import { freePorts } from '../runtime/free-ports.ts';
import type { Outcome, SoakOptions } from './outcome.ts';
import { untilStored } from './until-stored.ts';

const folder = path.resolve(import.meta.dirname, '../../shared/data/cmapss');
const recordings = ['FD001', 'FD002'].map((name) => path.join(folder, `train_${name}.txt.gz`));
const masterAccount = 'nasa';
const everyone = '';
const violationsMax = 20;

/** An engine's rows as the file has them, cut at blanks, in its order. */
type Rows = readonly (readonly string[])[];

export async function soakRecording({ onProgress }: SoakOptions): Promise<Outcome> {
  for (const file of recordings)
    if (!existsSync(file)) throw new Error(`this plays ${file}, which is not there`);
  return playRecordings(recordings, onProgress);
}

/** @param files - of the form of C-MAPSS, gzip; each is an account and has an agent of its own */
export async function playRecordings(
  files: readonly string[],
  onProgress: SoakOptions['onProgress'],
): Promise<Outcome> {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-soak-'));
  const devices = new Map(files.flatMap((file) => [...readRecording(file)]));
  const wanted = [...devices.values()].reduce((sum, rows) => sum + rows.length, 0);
  const supervisor = new Supervisor(
    path.resolve(import.meta.dirname, '../cli/main.ts'),
    path.join(directory, 'logs'),
    () => undefined,
  );
  try {
    const plan = await planFor(directory, files);
    await makeKeys(plan);
    await startPrograms(supervisor, plan);
    const file = path.resolve(directory, 'vendor', plan.vendor.database.slice('sqlite:'.length));
    const database = await connectDatabase(`sqlite:${file}`);
    try {
      const startMs = performance.now();
      await untilStored(database, wanted, onProgress);
      const seconds = (performance.now() - startMs) / 1000;
      return await judge(database, devices, Math.round(wanted / seconds), onProgress);
    } finally {
      await database.close();
    }
  } finally {
    await supervisor.stopAll();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @returns device path → its rows */
function readRecording(file: string): Map<string, Rows> {
  const engines = new Map<string, string[][]>();
  for (const line of gunzipSync(readFileSync(file)).toString('latin1').split('\n')) {
    const fields = line.trim().split(/\s+/);
    const [engine = ''] = fields;
    if (engine === '') continue;
    const rows = engines.get(pathOf(file, engine)) ?? [];
    engines.set(pathOf(file, engine), rows);
    rows.push(fields);
  }
  return engines;
}

function pathOf(file: string, engine: string): string {
  return `${masterAccount}/${path.basename(file, '.txt.gz')}/engine-${engine}`;
}

async function planFor(directory: string, files: readonly string[]): Promise<DeploymentPlan> {
  const ports = await freePorts(3);
  const listen = (index: number): ListenPlan => {
    const endpoint = `127.0.0.1:${ports[index]}`;
    return { listen: endpoint, address: endpoint, hosts: ['127.0.0.1'] };
  };
  const agents = files.map((file, index): AgentPlan => ({
    name: `agent-${index + 1}`,
    replay: { file, format: 'cmapss', speed: 'max' },
    devices: Array.from(readRecording(file).keys(), (device) => ({
      kind: 'replay',
      path: device,
      unit: device.slice(device.lastIndexOf('-') + 1),
    })),
  }));
  return {
    directory,
    vendor: { broker: listen(0), http: `127.0.0.1:${ports[2]}`, database: 'sqlite:./data/plombe.db' },
    customers: [{ masterAccount, broker: listen(1), agents }],
  };
}

async function startPrograms(supervisor: Supervisor, plan: DeploymentPlan): Promise<void> {
  const files = writeConfigs(plan);
  const start = async (name: string, subcommand: string, file: string, event: string): Promise<void> => {
    supervisor.start({ name, args: [subcommand, '--config', file] });
    await supervisor.waitFor(name, event);
  };
  const [customer] = files.customers;
  await start('vendor/broker', 'broker', files.vendorBroker, 'broker.listening');
  await start('vendor/backend', 'backend', files.backend, 'backend.listening');
  await start('customer/broker', 'broker', customer?.broker ?? '', 'broker.listening');
  for (const file of customer?.agents ?? [])
    await start(path.basename(file, '.yaml'), 'agent', file, 'agent.started');
}

async function judge(
  database: Database,
  devices: ReadonlyMap<string, Rows>,
  perSecond: number,
  onProgress: SoakOptions['onProgress'],
): Promise<Outcome> {
  const violations: string[] = [];
  let values = 0;
  for (const [device, rows] of devices) {
    const found: string[] = [];
    for await (const text of exportDevice(database, device)) found.push(text);
    const different = differenceOf(rows, found.join('').trimEnd().split('\r\n'));
    if (different !== undefined) violations.push(`${device}: ${different}`);
    values += rows.reduce((sum, fields) => sum + fields.length - 1, 0);
  }
  onProgress(`${values} values compared`);
  const { stored, duplicated } = await countSnapshots(database, everyone);
  if (duplicated > 0) violations.push(`${duplicated} are stored twice`);
  const { gapsOpen, deadLetters, alarmsOpen } = await readTotals(database, everyone);
  if (gapsOpen + deadLetters + alarmsOpen > 0)
    violations.push(`${gapsOpen} gaps, ${deadLetters} dead letters, ${alarmsOpen} alarms`);
  return {
    violations: violations.slice(0, violationsMax),
    figures: { engines: devices.size, stored, duplicated, values, perSecond },
  };
}

/** @returns undefined if the export says what the file says */
function differenceOf(rows: Rows, [header = '', ...lines]: readonly string[]): string | undefined {
  const columns = header.split(',');
  const positions = cmapssColumns.map(({ channel }) => columns.indexOf(channel ?? ''));
  if (columns.length !== cmapssColumns.length + 1) return `the columns are ${header}`; // time and sequence for the engine
  if (lines.length !== rows.length) return `${lines.length} rows, not ${rows.length}`;
  for (const [index, fields] of rows.entries()) {
    const found = lines[index]?.split(',') ?? [];
    const time = new Date(cmapssStartMs + Number(fields[1]) * cmapssCycleMs).toISOString();
    if (found[0] !== time || found[1] !== String(index + 1)) return `row ${index + 1} is ${found.join(',')}`;
    for (const [column, field] of fields.entries()) {
      if (column > 0 && found[positions[column] ?? -1] !== shown(field))
        return `row ${index + 1}: column ${column + 1} is ${found[positions[column] ?? -1]}, not ${field}`;
    }
  }
  return undefined;
}

/** Zeros with a sign keep it. */
function shown(field: string): string {
  return Object.is(Number(field), -0) ? '-0' : String(Number(field));
}
