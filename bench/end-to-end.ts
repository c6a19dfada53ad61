/**
 * Snapshots a second from agents through two brokers into SQLite: NASA C-MAPSS FD001, 20,631 snapshots of 100 devices,
 * as fast as it goes. Every device is behind a customer's broker that cascades into the vendor's; everything is
 * durable, signed, and sealed for two recipients, as deployed.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Supervisor } from '../cli/demo/supervisor.ts';
import type { LogRecord } from '../cli/demo/supervisor.ts';
import { planDemo } from '../cli/demo/topology.ts';
import type { DemoPlan } from '../cli/demo/topology.ts';
import { demoDatabaseUrl } from '../cli/demo/users.ts';
import { writeConfigs } from '../cli/deployment/configs.ts';
import { makeKeys } from '../cli/deployment/keys.ts';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { countSnapshots, readTotals } from '../database/totals.ts';
import { medianOf } from './figures.ts';
import { cpuSecondsOf, peakMemoryBytesOf } from './other-process.ts';

const root = path.resolve(import.meta.dirname, '..');
const recording = path.resolve(root, '../shared/data/cmapss/train_FD001.txt.gz');
const snapshots = 20_631;
const timeoutMs = 300_000;
const everyone = '';

interface Figures {
  readonly seconds: number;
  readonly stored: number;
  readonly duplicated: number;
  readonly cpuSeconds: ReadonlyMap<string, number>;
  readonly peakMegabytes: ReadonlyMap<string, number>;
}

/** @param args - `[RUNS]`, by default 3 */
export async function run([runs = '3']: readonly string[]): Promise<void> {
  if (!existsSync(recording)) throw new Error(`the bench plays ${recording}, which is not there`);
  const all: Figures[] = [];
  for (let index = 0; index < Number(runs); index++) {
    const figures = await once();
    all.push(figures);
    const { seconds, stored, duplicated } = figures;
    console.log(
      `run ${index + 1}: ${stored} stored, ${duplicated} twice, ${seconds.toFixed(1)} s, ${Math.round(stored / seconds)} snapshots/s`,
    );
  }
  report(all);
}

function report(all: readonly Figures[]): void {
  const rates = all.map(({ stored, seconds }) => stored / seconds);
  console.log(`\nmedian ${Math.round(medianOf(rates))} snapshots/s over ${rates.length} runs`);
  console.log('\nprocess                 peak memory   CPU');
  const last = all.at(-1);
  for (const [name, megabytes] of last?.peakMegabytes ?? []) {
    const cpu = last?.cpuSeconds.get(name)?.toFixed(1) ?? '';
    console.log(`${name.padEnd(22)}  ${String(megabytes).padStart(8)} MB  ${cpu.padStart(5)} s`);
  }
}

async function once(): Promise<Figures> {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-bench-'));
  const plan = await planBench(directory);
  const supervisor = new Supervisor(path.join(root, 'cli', 'main.ts'), path.join(directory, 'logs'), noticed);
  try {
    await makeKeys(plan);
    const files = writeConfigs(plan);
    const start = (name: string, subcommand: string, file: string): void =>
      supervisor.start({ name, args: [subcommand, '--config', file] });
    start('vendor/broker', 'broker', files.vendorBroker);
    start('vendor/backend', 'backend', files.backend);
    await supervisor.waitFor('vendor/backend', 'backend.listening');
    for (const { masterAccount, broker } of files.customers) {
      if (broker !== undefined) start(`${masterAccount}/broker`, 'broker', broker);
      await supervisor.waitFor(`${masterAccount}/broker`, 'broker.listening');
    }
    const database = await connectDatabase(demoDatabaseUrl(plan));
    try {
      return await play(supervisor, database, () => {
        const names: string[] = [];
        for (const { masterAccount, agents } of files.customers) {
          for (const agent of agents) {
            const name = `${masterAccount}/${path.basename(agent, '.yaml')}`;
            start(name, 'agent', agent);
            names.push(name);
          }
        }
        return names;
      });
    } finally {
      await database.close();
    }
  } finally {
    await supervisor.stopAll();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The clock runs from when the first agent is up and takes its first snapshot, to the last row. */
async function play(
  supervisor: Supervisor,
  database: Database,
  startAgents: () => readonly string[],
): Promise<Figures> {
  const agents = startAgents();
  await Promise.race(agents.map((agent) => supervisor.waitFor(agent, 'agent.started')));
  const startedMs = performance.now();
  while ((await readTotals(database, everyone)).stored < snapshots) {
    if (performance.now() - startedMs > timeoutMs) throw new Error(`not all stored within ${timeoutMs} ms`);
    await sleep(100);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const processes = [...supervisor.processIds()];
  return {
    seconds,
    ...(await countSnapshots(database, everyone)),
    peakMegabytes: new Map(
      processes.map(([name, pid]) => [name, Math.round(peakMemoryBytesOf(pid) / 2 ** 20)]),
    ),
    cpuSeconds: new Map(processes.map(([name, pid]) => [name, cpuSecondsOf(pid)])),
  };
}

/** Two customers with a broker and an agent each, fifty devices an agent. */
async function planBench(directory: string): Promise<DemoPlan> {
  const demo = await planDemo(directory, { file: recording, format: 'cmapss', speed: 'max' });
  const devices = demo.customers.flatMap(({ agents }) => agents.flatMap((agent) => agent.devices));
  const customers = demo.customers
    .filter(({ broker }) => broker !== undefined)
    .map(({ masterAccount, broker, agents: [agent] }, index) => ({
      masterAccount,
      ...(broker ? { broker } : {}),
      agents: agent
        ? [
            {
              ...agent,
              devices: devices
                .filter((_, at) => at % 2 === index)
                .map((device) => moved(device, masterAccount)),
            },
          ]
        : [],
    }));
  return { ...demo, customers };
}

function moved<Device extends { readonly path: string }>(device: Device, masterAccount: string): Device {
  return { ...device, path: [masterAccount, ...device.path.split('/').slice(1)].join('/') };
}

function noticed(program: string, { event }: LogRecord): void {
  if (event === 'program.died') console.error(`${program} died`);
}
