/**
 * The plug is pulled: device agents → a customer's broker → a bad wire → the vendor's broker → backend and database, and
 * both brokers, the backend and the wire fail at random. In the end every snapshot that was acknowledged to a device is
 * in the database exactly once, in order.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { freePorts } from '../runtime/free-ports.ts';
import { Supervisor } from '../cli/demo/supervisor.ts';
import type { LogRecord } from '../cli/demo/supervisor.ts';
import { writeConfigs } from '../cli/deployment/configs.ts';
import type { DeploymentFiles } from '../cli/deployment/configs.ts';
import { makeKeys } from '../cli/deployment/keys.ts';
import type { AgentPlan, DeploymentPlan, ListenPlan } from '../cli/deployment/plan.ts';
import { connectDatabase } from '../database/connect.ts';
import type { Database } from '../database/connect.ts';
import { countTakenByDevice } from '../database/taken-by-device.ts';
import { countSnapshots, readTotals } from '../database/totals.ts';
import { Generator } from '../fuzz/generator.ts';
import type { Outcome, SoakOptions } from './outcome.ts';
import { untilStored } from './until-stored.ts';
import { Wire, wireFaults } from './wire.ts';

const masterAccount = 'ms-acc-1';
const agentCount = 2;
const intervalMs = 100;
/** Longer than a restart with its back-off, so that the drain at the end is no part of the trial. */
const drainSeconds = 110;
/** Short, so that a wire that died silently is noticed often in ten minutes. */
const keepAliveSeconds = 3;
const calmMs = { min: 1500, max: 6000 };
const faultMs = { min: 500, max: 8000 };
const delayMs = { min: 20, max: 400 };
const everyone = '';
/** Of what is found out of order. */
const shownMax = 20;

const programs = ['vendor/broker', 'vendor/backend', 'customer/broker'] as const;
const agentNames = Array.from({ length: agentCount }, (_, index) => `agent-${index + 1}`);

/** What one agent says of each device when it has stopped. */
type Sealed = Readonly<Record<string, { readonly sealed: number; readonly delivered: number }>>;

export async function soakPlug({ minutes, rate, seed, onProgress }: SoakOptions): Promise<Outcome> {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-soak-'));
  const plan = await planFor(directory, rate);
  const vendorPort = Number(plan.vendor.broker.listen.split(':')[1]);
  const wire = new Wire(vendorPort);
  const sealed = new Map<string, number>();
  const supervisor = new Supervisor(
    path.resolve(import.meta.dirname, '../cli/main.ts'),
    path.join(directory, 'logs'),
    (_, record) => noteSealed(sealed, record),
  );
  let isKept = true;
  try {
    await makeKeys(plan);
    const files = writeConfigs(plan);
    putWireBetween(files, plan.vendor.broker.address, await wire.open());
    const database = await startPrograms(supervisor, files, plan);
    try {
      const faults = await pullPlugs({ minutes, seed, supervisor, wire, database, onProgress });
      wire.end();
      onProgress('draining');
      await supervisor.stop(agentNames);
      const outcome = await judge(database, sealed, faults, minutes, onProgress);
      isKept = outcome.violations.length > 0;
      return outcome;
    } finally {
      await database.close();
    }
  } finally {
    await supervisor.stopAll();
    await wire.close();
    if (isKept) onProgress(`logs and data stay in ${directory}`);
    else rmSync(directory, { recursive: true, force: true });
  }
}

async function planFor(directory: string, rate: number): Promise<DeploymentPlan> {
  const ports = await freePorts(3);
  const listen = (index: number): ListenPlan => {
    const endpoint = `127.0.0.1:${ports[index]}`;
    return { listen: endpoint, address: endpoint, hosts: ['127.0.0.1'] };
  };
  const devices = Math.round((rate * intervalMs) / 1000);
  const agents = agentNames.map((name, agent): AgentPlan => {
    const own = Array.from({ length: devices }, (_, index) => index).filter(
      (index) => index % agentCount === agent,
    );
    return {
      name,
      drainSeconds,
      devices: own.map((index) => ({
        kind: 'simulator',
        path: `${masterAccount}/acc-${agent}/dev-${index}`,
        type: index % 4 < 2 ? 'FM' : 'PC',
        condition: 'healthy',
        intervalMs,
        seed: index + 1,
      })),
    };
  });
  return {
    directory,
    vendor: { broker: listen(0), http: `127.0.0.1:${ports[2]}`, database: 'sqlite:./data/plombe.db' },
    customers: [{ masterAccount, broker: listen(1), agents }],
  };
}

function putWireBetween({ customers }: DeploymentFiles, address: string, wirePort: number): void {
  const file = customers[0]?.broker ?? '';
  const before = readFileSync(file, 'utf8');
  const after = before.replace(
    `upstream: ${address}`,
    `upstream: 127.0.0.1:${wirePort}\n  keepAliveSeconds: ${keepAliveSeconds}`,
  );
  if (after === before) throw new Error(`no upstream ${address} in ${file}`);
  writeFileSync(file, after);
}

async function startPrograms(
  supervisor: Supervisor,
  files: DeploymentFiles,
  { directory, vendor }: DeploymentPlan,
): Promise<Database> {
  const start = async (name: string, subcommand: string, file: string, event: string): Promise<void> => {
    supervisor.start({ name, args: [subcommand, '--config', file] });
    await supervisor.waitFor(name, event);
  };
  const [customer] = files.customers;
  await start('vendor/broker', 'broker', files.vendorBroker, 'broker.listening');
  await start('vendor/backend', 'backend', files.backend, 'backend.listening');
  await start('customer/broker', 'broker', customer?.broker ?? '', 'broker.listening');
  for (const [index, file] of (customer?.agents ?? []).entries()) {
    await start(agentNames[index] ?? '', 'agent', file, 'agent.started');
  }
  const file = path.resolve(directory, 'vendor', vendor.database.slice('sqlite:'.length));
  return connectDatabase(`sqlite:${file}`);
}

interface Trial extends Pick<SoakOptions, 'minutes' | 'seed' | 'onProgress'> {
  readonly supervisor: Supervisor;
  readonly wire: Wire;
  readonly database: Database;
}

/** @returns how often each thing failed */
async function pullPlugs(trial: Trial): Promise<Record<string, number>> {
  const { minutes, seed, supervisor, wire, database, onProgress } = trial;
  const generator = new Generator(seed);
  const between = ({ min, max }: { min: number; max: number }): number => min + generator.below(max - min);
  const faults: Record<string, number> = {};
  const endMs = performance.now() + minutes * 60_000;
  while (performance.now() < endMs) {
    await sleep(between(calmMs));
    const fault = generator.pick([...programs, ...wireFaults]);
    faults[fault] = (faults[fault] ?? 0) + 1;
    const wireFault = wireFaults.find((one) => one === fault);
    if (wireFault === undefined) {
      const processId = supervisor.processIds().get(fault);
      if (processId !== undefined) process.kill(processId, 'SIGKILL'); // otherwise it is down already
    } else {
      wire.begin(wireFault, between(delayMs));
      await sleep(between(faultMs));
      wire.end();
    }
    const { stored, gapsOpen } = await readTotals(database, everyone);
    const left = Math.max(0, Math.round((endMs - performance.now()) / 1000));
    onProgress(`${fault}; ${stored} stored, ${gapsOpen} gaps open, ${left} s to go`);
  }
  return faults;
}

function noteSealed(sealed: Map<string, number>, { event, devices }: LogRecord): void {
  if (event !== 'agent.stopped') return;
  for (const [device, counts] of Object.entries(devices as Sealed)) sealed.set(device, counts.sealed);
}

/** Waits for what is on its way, and compares the database with what the devices have sealed. */
async function judge(
  database: Database,
  sealed: ReadonlyMap<string, number>,
  faults: Readonly<Record<string, number>>,
  minutes: number,
  onProgress: SoakOptions['onProgress'],
): Promise<Outcome> {
  const violations: string[] = [];
  const wanted = [...sealed.values()].reduce((sum, count) => sum + count, 0);
  if (wanted === 0) violations.push('no agent said what it had sealed');
  await untilStored(database, wanted, onProgress);
  const taken = await countTakenByDevice(database);
  for (const [device, count] of sealed) {
    const stored = taken.get(device)?.snapshots ?? 0;
    if (stored !== count) violations.push(`${device} sealed ${count}, and ${stored} are stored`);
  }
  const { stored, duplicated } = await countSnapshots(database, everyone);
  if (duplicated > 0) violations.push(`${duplicated} are stored twice`);
  const disordered = await findDisordered(database);
  for (const { device, sequence, previous, receivedMs } of disordered.slice(0, shownMax)) {
    const received = new Date(receivedMs).toISOString();
    violations.push(`${device}: ${sequence} was stored after ${previous}, received at ${received}`);
  }
  const { gapsOpen, deadLetters, alarmsOpen, redelivered } = await readTotals(database, everyone);
  if (gapsOpen > 0) violations.push(`${gapsOpen} gaps are open`);
  if (deadLetters > 0) violations.push(`${deadLetters} messages were refused`);
  const perSecond = Math.round(wanted / (minutes * 60));
  return {
    violations,
    figures: {
      sealed: wanted,
      perSecond,
      stored,
      duplicated,
      disordered: disordered.length,
      redelivered,
      alarmsOpen,
      ...faults,
    },
  };
}

interface Disordered {
  readonly device: string;
  readonly sequence: number;
  readonly previous: number;
  readonly receivedMs: number;
}

/** Of one device, rows whose sequence is below that of the row stored before. */
async function findDisordered({ kysely }: Database): Promise<readonly Disordered[]> {
  const { rows } = await sql<Disordered>`
    select device.path as device, pairs.sequence, pairs.previous, pairs.receivedMs from (
      select device_id, sequence, received_ms as receivedMs,
        lag(sequence) over (partition by device_id order by id) as previous
      from snapshot
    ) as pairs join device on device.id = pairs.device_id
    where pairs.previous > pairs.sequence`.execute(kysely);
  return rows;
}
