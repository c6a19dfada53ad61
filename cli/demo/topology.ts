/** The demo's world: a vendor, two customers with brokers of their own, and one whose devices connect straight to the vendor. */
import path from 'node:path';
import { collectCmapss } from '../../device-agent/collector/cmapss.ts';
import { collectCsv } from '../../device-agent/collector/csv.ts';
import type {
  AgentPlan,
  CustomerPlan,
  DeploymentPlan,
  DevicePlan,
  ListenPlan,
  ReplayPlan,
} from '../deployment/plan.ts';
import { freePorts } from '../../runtime/free-ports.ts';

/** Two agents a customer. The first looks on, the second decides what leaves, the third has no broker. */
const customers = [
  { masterAccount: 'ms-acc-1', mode: 'observe' },
  { masterAccount: 'ms-acc-2', mode: 'enforce' },
  { masterAccount: 'ms-acc-3', mode: undefined },
] as const;
const agentsPerCustomer = 2;
const sampleIntervalMs = 1000;
/** Of a device whose owner is asked about these. */
const usageEvery = 20;
/** A recording played at full speed fills the outboxes. */
const drainSeconds = 90;
/** Every device has three key pairs and a connection of its own. */
export const replayUnitsMax = 1000;

/** One of each condition, so that every workflow runs. */
const simulated = [
  { type: 'FM', condition: 'healthy' },
  { type: 'PC', condition: 'wearing' },
  { type: 'FM', condition: 'faulty' },
  { type: 'PC', condition: 'overdue' },
  { type: 'FM', condition: 'wearing' },
  { type: 'PC', condition: 'healthy' },
] as const;

export interface DemoPlan extends DeploymentPlan {
  /** Every agent's state endpoint, by program name. */
  readonly agentStates: ReadonlyMap<string, string>;
}

/** @param replay - none: every agent has one simulated device */
export async function planDemo(directory: string, replay: ReplayPlan | undefined): Promise<DemoPlan> {
  const agentCount = customers.length * agentsPerCustomer;
  // A page for whoever decides.
  const ports = await freePorts(5 + customers.length + agentCount);
  const next = (): string => {
    const port = ports.pop();
    if (port === undefined) throw new RangeError('more programs than ports');
    return `127.0.0.1:${port}`;
  };
  const listen = (): ListenPlan => {
    const endpoint = next();
    return { listen: endpoint, address: endpoint, hosts: ['127.0.0.1', 'localhost'] };
  };
  const devices = replay ? await replayedDevices(replay) : simulatedDevices();
  const agentStates = new Map<string, string>();
  const vendor = {
    broker: listen(),
    http: next(),
    backendObserve: next(),
    bpmObserve: next(),
    database: 'sqlite:./data/plombe.db',
  };
  const planned = customers.map(({ masterAccount, mode }, customerIndex): CustomerPlan => {
    const agents = Array.from({ length: agentsPerCustomer }, (_, agentIndex): AgentPlan[] => {
      const name = `agent-${agentIndex + 1}`;
      const share = devices[customerIndex * agentsPerCustomer + agentIndex] ?? [];
      if (share.length === 0) return []; // a recording of fewer machines than we have agents
      const observe = next();
      agentStates.set(`${masterAccount}/${name}`, observe);
      return [{ name, devices: share, drainSeconds, observe, ...(replay ? { replay } : {}) }];
    }).flat();
    if (mode === undefined) return { masterAccount, agents };
    const auditor = mode === 'enforce' ? { mode, page: next() } : {};
    return { masterAccount, agents, broker: listen(), auditor };
  });
  return {
    directory,
    vendor,
    customers: planned,
    agentStates,
  };
}

/** @returns for each agent in turn its devices */
function simulatedDevices(): DevicePlan[][] {
  return simulated.map(({ type, condition }, index) => [
    {
      kind: 'simulator',
      path: `${masterAccountOf(index)}/acc-1/${type.toLowerCase()}-${(index % agentsPerCustomer) + 1}`,
      type,
      condition,
      intervalMs: sampleIntervalMs,
      seed: index + 1,
      ...(customerOf(index)?.mode === 'enforce' ? { usageEvery } : {}),
    },
  ]);
}

async function replayedDevices(replay: ReplayPlan): Promise<DevicePlan[][]> {
  const units = await unitsOf(replay);
  const shares: DevicePlan[][] = simulated.map(() => []);
  for (const [index, unit] of units.entries()) {
    const agent = index % shares.length;
    shares[agent]?.push({
      kind: 'replay',
      path: `${masterAccountOf(agent)}/${accountOf(replay.file)}/unit-${String(index + 1).padStart(3, '0')}`,
      unit,
    });
  }
  return shares;
}

function masterAccountOf(agentIndex: number): string {
  return customerOf(agentIndex)?.masterAccount ?? '';
}

function customerOf(agentIndex: number): (typeof customers)[number] | undefined {
  return customers[Math.floor(agentIndex / agentsPerCustomer)];
}

/** A recording becomes a site: `train_FD001.txt.gz` is the account `train_FD001`. */
function accountOf(file: string): string {
  const name = path.basename(file).replace(/\..*$/, '');
  return name.replaceAll(/[^A-Za-z0-9_-]/g, '-').slice(0, 20) || 'replay';
}

async function unitsOf({ file, format, csv }: ReplayPlan): Promise<string[]> {
  const units = new Set<string>();
  const source = format === 'cmapss' ? collectCmapss(file) : collectCsv(file, csv ?? { deviceType: 'CSV' });
  for await (const item of source) {
    if (item.kind === 'sample') units.add(item.device ?? '');
    if (units.size > replayUnitsMax) {
      throw new Error(`${file} has more than ${replayUnitsMax} machines; the demo plays at most that many`);
    }
  }
  if (units.size === 0) throw new Error(`${file} has no row that is a ${format} snapshot`);
  return [...units];
}
