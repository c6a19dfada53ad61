/** A customer who enforces, as programs: agents → customer's broker with auditor → vendor's broker → backend and database. */
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Supervisor } from '../cli/demo/supervisor.ts';
import type { LogRecord } from '../cli/demo/supervisor.ts';
import { writeConfigs } from '../cli/deployment/configs.ts';
import type { DeploymentFiles } from '../cli/deployment/configs.ts';
import { makeKeys } from '../cli/deployment/keys.ts';
import type { AgentPlan, DeploymentPlan, ListenPlan } from '../cli/deployment/plan.ts';
import { customerFolder, snapshotServiceName } from '../cli/deployment/plan.ts';
import { administratorName, parseNamespacePath } from '../domain/namespace.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { ChannelRules, Policy } from '../domain/policy.ts';
import { mainGroup } from '../domain/policy.ts';
import { policyTopic } from '../domain/topic.ts';
import { openLink } from '../mqtt/link.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { Identity, TlsIdentity } from '../pki/identity.ts';
import { loadIdentity, loadTlsIdentity } from '../pki/identity.ts';
import { signPolicy } from '../policy/signed-policy.ts';
import { freePorts } from '../runtime/free-ports.ts';
import { createLog } from '../runtime/log.ts';
import { Person } from './person.ts';

export const masterAccount = 'ms-acc-1';
/** Of its devices a person is asked about everything; those of the other account go out by themselves. */
export const askedAccount = `${masterAccount}/acc-asked`;
const freeAccount = `${masterAccount}/acc-free`;
const devicesPerAgent = 3;
const intervalMs = 150;
/** Longer than a restart with its back-off, so that the drain at the end is no part of the trial. */
const drainSeconds = 110;

export const agentNames = ['agent-free', 'agent-asked'] as const;
export const auditorName = 'customer/auditor';
const brokerName = 'customer/broker';
/** What is killed. */
export const victims = [auditorName, brokerName, ...agentNames] as const;
/** What a program says once it works. */
const startEvents: ReadonlySet<string> = new Set([
  'broker.listening',
  'backend.listening',
  'auditor.started',
  'agent.started',
]);
const lookMs = 50;

export class EnforceSite {
  readonly supervisor: Supervisor;
  readonly #plan: DeploymentPlan;
  readonly #files: DeploymentFiles;
  readonly pagePort: number;
  readonly #working = new Set<string>();

  private constructor(
    plan: DeploymentPlan,
    files: DeploymentFiles,
    pagePort: number,
    onRecord: (record: LogRecord) => void,
  ) {
    this.#plan = plan;
    this.#files = files;
    this.pagePort = pagePort;
    this.supervisor = new Supervisor(
      path.resolve(import.meta.dirname, '../cli/main.ts'),
      path.join(plan.directory, 'logs'),
      (program, record) => {
        if (startEvents.has(record.event)) this.#working.add(program);
        if (record.event === 'program.died') this.#working.delete(program);
        onRecord(record);
      },
    );
  }

  /** Keys and configurations; nothing runs yet. */
  static async make(onRecord: (record: LogRecord) => void): Promise<EnforceSite> {
    const directory = mkdtempSync(path.join(tmpdir(), 'plombe-soak-'));
    const [vendor = 0, customer = 0, http = 0, page = 0] = await freePorts(4);
    const plan = planOf(directory, { vendor, customer, http, page });
    await makeKeys(plan);
    const files = writeConfigs(plan);
    const site = new EnforceSite(plan, files, page, onRecord);
    appendFileSync(files.customers[0]?.auditor ?? '', 'headEverySeconds: 1\n'); // so that much is countersigned in the end
    await Person.addAccount(site.auditorData);
    return site;
  }

  get auditorData(): string {
    return path.join(this.#folder, 'data', 'auditor');
  }

  get ledger(): string {
    return path.join(this.auditorData, 'egress.ledger');
  }

  get databaseUrl(): string {
    const { directory, vendor } = this.#plan;
    return `sqlite:${path.resolve(directory, 'vendor', vendor.database.slice('sqlite:'.length))}`;
  }

  /** PEM file of the pinned E2E root. */
  get rootFile(): string {
    return path.join(this.#ownerKeys, 'e2e-root.crt.pem');
  }

  get releaser(): Certificate {
    return this.#owner().e2e.signature.certificate;
  }

  get vendorPort(): number {
    return portOf(this.#plan.vendor.broker.listen);
  }

  get administrator(): TlsIdentity {
    return loadTlsIdentity(path.join(this.#plan.directory, 'vendor', 'identities', administratorName));
  }

  async startVendor(): Promise<void> {
    await this.#start('vendor/broker', 'broker', this.#files.vendorBroker, 'broker.listening');
    await this.#start('vendor/backend', 'backend', this.#files.backend, 'backend.listening');
  }

  async startCustomer(): Promise<void> {
    const [files] = this.#files.customers;
    await this.#start(brokerName, 'broker', files?.broker, 'broker.listening');
    await this.#publishPolicies();
    await this.#start(auditorName, 'auditor', files?.auditor, 'auditor.started');
    for (const [index, name] of agentNames.entries()) {
      await this.#start(name, 'agent', files?.agents[index], 'agent.started');
    }
  }

  /** Whoever was killed is there again. */
  async untilWorking(names: readonly string[]): Promise<void> {
    do await sleep(lookMs);
    while (names.some((name) => !this.#working.has(name)));
  }

  async end(): Promise<void> {
    await this.supervisor.stopAll();
    rmSync(this.#plan.directory, { recursive: true, force: true });
  }

  get #folder(): string {
    return path.join(this.#plan.directory, customerFolder(masterAccount));
  }

  get #ownerKeys(): string {
    return path.join(this.#folder, 'identities', 'auditor');
  }

  #owner(): Identity {
    return loadIdentity(this.#ownerKeys, { nowMs: Date.now() });
  }

  async #start(name: string, subcommand: string, file: string | undefined, event: string): Promise<void> {
    this.supervisor.start({ name, args: [subcommand, '--config', file ?? ''] });
    await this.supervisor.waitFor(name, event);
  }

  async #publishPolicies(): Promise<void> {
    const { tls, e2e } = this.#owner();
    const broker = this.#plan.customers[0]?.broker;
    const link = openLink({
      broker: { host: '127.0.0.1', port: portOf(broker?.listen ?? '') },
      brokerName: masterAccount,
      identity: tls,
      clientId: 'owner',
      cleanSession: true,
      log: createLog('owner', 'silent'),
    });
    for (const policy of [
      policyOf(masterAccount, { auto: ['*'], ask: [], deny: [] }),
      policyOf(askedAccount, { auto: [], ask: ['*'], deny: [] }),
    ]) {
      await link.publish(policyTopic(policy.path), signPolicy(policy, e2e, Date.now()), {
        qos: 1,
        retain: true,
      });
    }
    await link.close();
  }
}

function planOf(
  directory: string,
  ports: Readonly<Record<'vendor' | 'customer' | 'http' | 'page', number>>,
): DeploymentPlan {
  const listenAt = (port: number): ListenPlan => {
    const endpoint = `127.0.0.1:${port}`;
    return { listen: endpoint, address: endpoint, hosts: ['127.0.0.1'] };
  };
  const agents = [freeAccount, askedAccount].map((account, agent): AgentPlan => ({
    name: agentNames[agent] ?? '',
    drainSeconds,
    devices: Array.from({ length: devicesPerAgent }, (_, index) => ({
      kind: 'simulator',
      path: `${account}/dev-${index}`,
      type: 'FM',
      condition: 'healthy',
      intervalMs: account === askedAccount ? 3 * intervalMs : intervalMs,
      seed: index + 1,
    })),
  }));
  return {
    directory,
    vendor: {
      broker: listenAt(ports.vendor),
      http: `127.0.0.1:${ports.http}`,
      database: 'sqlite:./data/plombe.db',
    },
    customers: [
      {
        masterAccount,
        broker: listenAt(ports.customer),
        auditor: { mode: 'enforce', page: `127.0.0.1:${ports.page}` },
        agents,
      },
    ],
  };
}

function policyOf(path: string, channels: ChannelRules): Policy {
  const recipients = [{ name: snapshotServiceName, trust: 'configured', certificates: [] }] as const;
  return {
    path: pathOf(path),
    number: 1,
    issuer: pathOf(masterAccount),
    readers: { [mainGroup]: { recipients, channels, limits: {} } },
    limits: {},
  };
}

function pathOf(text: string): NamespacePath {
  const parsed = parseNamespacePath(text);
  if (parsed === undefined) throw new TypeError(`${text} is no path`);
  return parsed;
}

function portOf(endpoint: string): number {
  return Number(endpoint.split(':')[1]);
}
