/** Runs the demo: keys, programs, screen, and an orderly end whose numbers are exact. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { isWithin } from '../../domain/namespace.ts';
import { createLog } from '../../runtime/log.ts';
import { startErrorText } from '../../runtime/shutdown.ts';
import { writeConfigs } from '../deployment/configs.ts';
import type { DeploymentFiles } from '../deployment/configs.ts';
import { makeKeys } from '../deployment/keys.ts';
import type { CustomerPlan, ReplayPlan } from '../deployment/plan.ts';
import { customerFolder, deviceIdentityFolder } from '../deployment/plan.ts';
import { countTakenOf, countUnjudgedOf, readOutcome, readWithheld } from './outcome.ts';
import { publishPolicy } from './owner.ts';
import { makeUsers } from './users.ts';
import type { DemoUsers } from './users.ts';
import { intrude } from './intruder.ts';
import type { DemoSummary } from './summary.ts';
import type { LogRecord } from './supervisor.ts';
import { Supervisor } from './supervisor.ts';
import { askAgent, countRejectedRows, FleetReader, tallyDevices } from './tally.ts';
import type { AgentState, DeviceTally } from './tally.ts';
import type { DemoPlan } from './topology.ts';
import { planDemo } from './topology.ts';
import { introductionText, refusalText } from './texts.ts';
import type { Picture } from './view.ts';
import { TerminalTable, totalsText } from './view.ts';

export interface DemoOptions {
  /** Kept if given; a temporary one is removed. */
  readonly directory: string | undefined;
  /** From when every program runs, however long they took to start. */
  readonly forSeconds: number | undefined;
  /** Nothing on stdout but what the caller prints; progress goes to stderr. */
  readonly quiet: boolean;
  readonly replay: ReplayPlan | undefined;
}

const refreshMs = 500;
const noticesKept = 50;
const sameKeypressMs = 1000;
/** How long the rest may take to arrive while nothing more arrives: an auditor waits for half of it for what it lacks. */
const drainIdleMs = 60_000;
const stoppedType = z.record(
  z.string(),
  z.object({ sealed: z.number(), delivered: z.number(), pending: z.number() }),
);
interface DeviceCounts {
  readonly sealed: number;
  readonly delivered: number;
  /** Sealed, and still in the outbox. */
  readonly pending: number;
}
const refusalEvents = new Set(['subscription.denied', 'publish.denied', 'connection.refused']);

export async function runDemo(options: DemoOptions): Promise<DemoSummary> {
  const directory = options.directory ?? mkdtempSync(path.join(tmpdir(), 'plombe-demo-'));
  let demo: Demo | undefined;
  try {
    demo = new Demo(options, await planDemo(directory, options.replay));
    return await demo.run();
  } finally {
    await demo?.stop();
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #plan: DemoPlan;
  readonly #supervisor: Supervisor;
  readonly #startedMs = performance.now();
  readonly #notices: string[] = [];
  readonly #agents = new Map<string, AgentState>();
  readonly #interactive: boolean;
  #refused = 0;
  #hasNoticedHeld = false;
  /** Few: of each reason an agent logs no more than its first rows. */
  readonly #rejectedRows = new Set<string>();
  readonly #finishedAgents = new Set<string>();
  readonly #final = new Map<string, DeviceCounts>();
  #firstStoredSeconds: number | null = null;

  constructor(options: DemoOptions, plan: DemoPlan) {
    this.#options = options;
    this.#plan = plan;
    this.#interactive = !options.quiet && process.stdout.isTTY;
    this.#supervisor = new Supervisor(
      process.argv[1] ?? '',
      path.join(plan.directory, 'logs'),
      (program, record) => this.#noticed(program, record),
    );
  }

  async run(): Promise<DemoSummary> {
    const plan = this.#plan;
    this.#say(`Plombe demo in ${plan.directory}`);
    await makeKeys(plan, (done, total) => this.#progress('keys and certificates', done, total));
    const files = writeConfigs(plan);
    const users = await makeUsers(plan);
    const interrupted = signalled();
    await Promise.race([
      this.#startPrograms(files),
      interrupted.then(() => Promise.reject(new Error('interrupted'))),
    ]);
    this.#introduce(users);
    const intruded = this.#intrude().catch((error: unknown) =>
      this.#notice(`the intruder failed: ${startErrorText(error)}`),
    );
    const reader = new FleetReader(`http://${plan.vendor.http}`, users.operator);
    await this.#watch(reader, interrupted);
    await intruded;
    return this.#finish();
  }

  async stop(): Promise<void> {
    await this.#supervisor.stopAll();
  }

  get #seconds(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  /**
   * Brokers first, then who reads, then who writes. Each order works; this one shows the first value soonest. Devices of a
   * customer that decides begin once its policy is there, so that they know from the start what it asks about.
   */
  async #startPrograms(files: DeploymentFiles): Promise<void> {
    const supervisor = this.#supervisor;
    const start = (name: string, subcommand: string, file: string): void =>
      supervisor.start({ name, args: [subcommand, '--config', file] });
    const startAgent = (masterAccount: string, agent: string): void =>
      start(`${masterAccount}/${path.basename(agent, '.yaml')}`, 'agent', agent);
    start('vendor/broker', 'broker', files.vendorBroker);
    start('vendor/backend', 'backend', files.backend);
    start('vendor/bpm', 'bpm', files.bpm);
    start('vendor/registrar', 'registrar', files.registrar);
    for (const { masterAccount, broker, auditor, agents } of files.customers) {
      if (broker !== undefined) start(`${masterAccount}/broker`, 'broker', broker);
      if (auditor !== undefined) start(`${masterAccount}/auditor`, 'auditor', auditor);
      if (this.#decided(masterAccount) !== undefined) continue;
      for (const agent of agents) startAgent(masterAccount, agent);
    }
    await Promise.all([
      supervisor.waitFor('vendor/broker', 'broker.listening'),
      supervisor.waitFor('vendor/backend', 'backend.listening'),
      supervisor.waitFor('vendor/bpm', 'bpm.started'),
      supervisor.waitFor('vendor/registrar', 'registrar.started'),
      ...files.customers.map(async ({ masterAccount, broker, agents }) => {
        if (broker === undefined) return;
        await supervisor.waitFor(`${masterAccount}/broker`, 'broker.listening');
        const owner = this.#decided(masterAccount);
        if (owner === undefined) return;
        await publishPolicy(this.#plan, owner);
        for (const agent of agents) startAgent(masterAccount, agent);
      }),
    ]);
  }

  /** @returns undefined for a customer of whom everything leaves unasked */
  #decided(masterAccount: string): CustomerPlan | undefined {
    return this.#plan.customers.find(
      (customer) => customer.masterAccount === masterAccount && customer.auditor?.mode === 'enforce',
    );
  }

  #introduce(users: DemoUsers): void {
    const logs = path.join(this.#plan.directory, 'logs');
    this.#say(introductionText(`http://${this.#plan.vendor.http}`, users, logs));
  }

  async #intrude(): Promise<void> {
    const [victim, thief] = this.#plan.customers;
    const device = thief?.agents[0]?.devices[0]?.path;
    if (!victim || !thief?.broker || device === undefined) return;
    const [host = '', port = ''] = thief.broker.address.split(':');
    const folder = path.join(this.#plan.directory, customerFolder(thief.masterAccount));
    const attempts = await intrude({
      identityDirectory: path.join(folder, deviceIdentityFolder(device)),
      broker: { host, port: Number(port) },
      brokerName: thief.masterAccount,
      foreignTopic: `${victim.masterAccount}/acc-1/dev-1/snapshots`,
      log: createLog('intruder', 'silent'),
    });
    for (const { who, what, denied } of attempts) {
      if (!denied) this.#notice(`NOT DENIED: ${who} may ${what}`);
    }
  }

  /** Until the time is over, the recording is stored, or somebody says stop. */
  async #watch(reader: FleetReader, interrupted: Promise<void>): Promise<void> {
    const table = this.#interactive ? new TerminalTable(process.stdout) : undefined;
    const stop = { wanted: false };
    void interrupted.then(() => (stop.wanted = true));
    const watchedSinceMs = performance.now();
    let lastLineMs = 0;
    while (!stop.wanted) {
      const picture = await this.#picture(reader);
      if (table) table.draw(picture);
      else if (performance.now() - lastLineMs > 4 * refreshMs) {
        lastLineMs = performance.now();
        this.#say(totalsText(picture));
      }
      const { forSeconds = Infinity, replay } = this.#options;
      if (performance.now() - watchedSinceMs >= forSeconds * 1000) return;
      if (replay && !this.#interactive && this.#finishedAgents.size === this.#plan.agentStates.size) return;
      await Promise.race([sleep(refreshMs), interrupted]);
    }
  }

  async #picture(reader: FleetReader): Promise<Picture> {
    await this.#askAgents();
    const fleet = (await reader.fleet()) ?? [];
    const devices = tallyDevices([...this.#agents.values()], fleet, readWithheld(this.#plan));
    this.#noticeHeld(devices);
    if (this.#firstStoredSeconds === null && devices.some((device) => device.stored > 0)) {
      this.#firstStoredSeconds = this.#seconds;
    }
    return {
      seconds: this.#seconds,
      devices,
      notices: this.#notices,
      refused: this.#refused,
      restarts: this.#supervisor.restarts,
    };
  }

  /** Once: from then on the column says it. */
  #noticeHeld(devices: readonly DeviceTally[]): void {
    const held = devices.find((device) => device.held > 0);
    if (held === undefined || this.#hasNoticedHeld) return;
    this.#hasNoticedHeld = true;
    const page = this.#plan.customers.find(({ masterAccount }) => isWithin(held.path, masterAccount))?.auditor
      ?.page;
    this.#notice(`held: sign in at http://${page} and release what ${held.path} has sent`);
  }

  /** An agent that does not answer keeps its last state on the screen. */
  async #askAgents(): Promise<void> {
    await Promise.all(
      Array.from(this.#plan.agentStates, async ([name, endpoint]) => {
        const state = await askAgent(endpoint);
        if (state) this.#agents.set(name, state);
      }),
    );
  }

  /** Stops the sources, waits until everything on the way has arrived, stops the rest, and counts in the database. */
  async #finish(): Promise<DemoSummary> {
    this.#say('Stopping the agents; what is on the way still arrives …');
    const agents = [...this.#plan.agentStates.keys()];
    await this.#askAgents();
    await this.#supervisor.stop(agents);
    const counts = this.#counts();
    const sum = (pick: (device: DeviceCounts) => number): number =>
      [...counts.values()].reduce((total, device) => total + pick(device), 0);
    await this.#drain(sum(({ sealed, pending }) => sealed - pending));
    await this.#supervisor.stopAll();
    const outcome = await readOutcome(this.#plan);
    const withheld = readWithheld(this.#plan);
    const allWithheld = [...withheld.values()];
    // Answers to commands take sequence numbers too; the summary speaks of snapshots.
    const others = [...outcome.takenByDevice.values()].reduce((total, taken) => total + taken.others, 0);
    const lost = Array.from(counts, ([device, { sealed, pending }]) => {
      const taken = outcome.takenByDevice.get(device);
      const { held, denied } = withheld.get(device) ?? { held: 0, denied: 0 };
      return Math.max(0, sealed - pending - (taken?.snapshots ?? 0) - (taken?.others ?? 0) - held - denied);
    });
    return {
      sealed: sum(({ sealed }) => sealed) - others,
      delivered: sum(({ delivered }) => delivered) - others,
      pending: sum(({ pending }) => pending),
      stored: outcome.stored,
      held: allWithheld.reduce((total, { held }) => total + held, 0),
      denied: allWithheld.reduce((total, { denied }) => total + denied, 0),
      lost: lost.reduce((total, count) => total + count, 0),
      duplicated: outcome.duplicated,
      redelivered: outcome.redelivered,
      refused: this.#refused,
      rejected:
        outcome.deadLetters +
        countRejectedRows([...this.#agents.values()], this.#options.replay !== undefined),
      workflows: outcome.workflows,
      devices: counts.size,
      restarts: this.#supervisor.restarts,
      seconds: Math.round(this.#seconds * 10) / 10,
      firstStoredSeconds:
        this.#firstStoredSeconds === null ? null : Math.round(this.#firstStoredSeconds * 10) / 10,
      dashboardUrl: `http://${this.#plan.vendor.http}`,
    };
  }

  /** By device: what each agent said when it stopped, or of one that could not, what it last answered. */
  #counts(): Map<string, DeviceCounts> {
    const asked = [...this.#agents.values()].flatMap((agent) => agent.devices);
    return new Map([...asked.map((device) => [device.path, device] as const), ...this.#final]);
  }

  /** Waits as long as something still arrives, and for the workflows to have seen it. */
  async #drain(wanted: number): Promise<void> {
    let stored = -1;
    let lastArrivalMs = performance.now();
    while (performance.now() - lastArrivalMs < drainIdleMs) {
      const withheld = [...readWithheld(this.#plan).values()];
      const staying = withheld.reduce((total, { held, denied }) => total + held + denied, 0);
      const now = (await countTakenOf(this.#plan)) + staying;
      if (now >= wanted) break;
      if (now > stored) lastArrivalMs = performance.now();
      stored = now;
      this.#progress('stored', now, wanted);
      await sleep(refreshMs / 2);
    }
    this.#progress('stored', wanted, wanted);
    await this.#untilClassified();
  }

  async #untilClassified(): Promise<void> {
    const deadlineMs = performance.now() + drainIdleMs;
    while (performance.now() < deadlineMs) {
      if ((await countUnjudgedOf(this.#plan)) === 0) return;
      await sleep(refreshMs / 2);
    }
  }

  #noticed(program: string, record: LogRecord): void {
    const { event } = record;
    if (refusalEvents.has(event)) {
      this.#refused++;
      this.#notice(`${program}: ${refusalText(record)}`);
    } else if (event === 'sample.rejected' || event === 'collector.failed') {
      this.#rowRejected(program, record);
    } else if (event === 'agent.stopped') {
      this.#stopped(record['devices']);
    } else if (event === 'collector.finished') {
      this.#finishedAgents.add(program);
    } else if (event.startsWith('program.') && record.level !== 'info') {
      this.#notice(`${program}: ${event}`);
    }
  }

  /** Every agent that reads a recording reports its bad rows; they are shown once. */
  #rowRejected(program: string, { reason, line, detail }: LogRecord): void {
    const where = this.#options.replay === undefined ? program : path.basename(this.#options.replay.file);
    const place = typeof line === 'number' ? `${where} line ${line}` : where;
    const text = [place, 'rejected', reason, detail].filter((part) => typeof part === 'string').join(' ');
    if (this.#rejectedRows.has(text)) return;
    this.#rejectedRows.add(text);
    this.#notice(text);
  }

  /** An agent's last word: what its outbox counted. */
  #stopped(devices: unknown): void {
    for (const [device, counts] of Object.entries(stoppedType.parse(devices)))
      this.#final.set(device, counts);
  }

  #notice(text: string): void {
    this.#notices.push(`${new Date().toISOString().slice(11, 19)} ${text}`);
    if (this.#notices.length > noticesKept) this.#notices.shift();
    if (!this.#interactive) this.#say(text);
  }

  #say(text: string): void {
    (this.#options.quiet ? process.stderr : process.stdout).write(`${text}\n`);
  }

  #progress(what: string, done: number, total: number): void {
    const { stderr } = process;
    if (stderr.isTTY) stderr.write(`\r\x1b[K${done < total ? `${what}: ${done} of ${total}` : ''}`);
  }
}

/**
 * The first SIGINT or SIGTERM asks for an orderly end, and so does the end of whoever started us over a channel.
 * A second signal ends at once, unless it is the same keypress: npm passes on what the terminal sent us already.
 */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    let askedMs: number | undefined;
    const ask = (): void => {
      if (askedMs !== undefined && performance.now() - askedMs > sameKeypressMs) process.exit(130);
      askedMs ??= performance.now();
      resolve();
    };
    process.on('SIGINT', ask);
    process.on('SIGTERM', ask);
    process.once('disconnect', resolve);
    process.channel?.unref();
  });
}
