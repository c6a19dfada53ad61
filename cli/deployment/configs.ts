/** Writes the configuration file of every program of a deployment, with comments for whoever edits it next. */
import path from 'node:path';
import { enrolmentServiceName } from '../../domain/enrolment.ts';
import { writeFileAtomically } from '../../runtime/files.ts';
import type { AgentPlan, CsvPlan, CustomerPlan, DeploymentPlan, DevicePlan } from './plan.ts';
import {
  commandReaderFile,
  commandServiceName,
  crlServiceName,
  customerFolder,
  deviceIdentityFolder,
  releaserFile,
  snapshotServiceName,
  vendorBrokerName,
} from './plan.ts';

const revocationLines = `# Revocation lists, read at the start; one that is published at vendor/crl/tls is applied at once.
# crls: [./crl.pem]
`;
/** JSON is YAML, so a quoted value means the same whatever is in it. */
const quote = (value: string): string => JSON.stringify(value);
const observeLines = (endpoint: string | undefined): string =>
  endpoint === undefined
    ? `# Prometheus metrics, health and state. It has no login: loopback or a management network only.
# observe: 127.0.0.1:9464
`
    : `# Prometheus metrics, health and state. It has no login: loopback or a management network only.
observe: ${endpoint}
`;

/** @returns the configuration files, to start programs with */
export interface DeploymentFiles {
  readonly vendorBroker: string;
  readonly backend: string;
  readonly bpm: string;
  readonly registrar: string;
  readonly customers: readonly CustomerFiles[];
}
export interface CustomerFiles {
  readonly masterAccount: string;
  readonly broker: string | undefined;
  readonly auditor: string | undefined;
  readonly agents: readonly string[];
}

export function writeConfigs(plan: DeploymentPlan): DeploymentFiles {
  const write = (folder: string, name: string, text: string): string => {
    const file = path.join(plan.directory, folder, `${name}.yaml`);
    writeFileAtomically(file, text);
    return file;
  };
  return {
    vendorBroker: write('vendor', 'broker', vendorBroker(plan)),
    backend: write('vendor', 'backend', backend(plan)),
    bpm: write('vendor', 'bpm', bpm(plan)),
    registrar: write('vendor', 'registrar', registrar(plan)),
    customers: plan.customers.map((customer) => ({
      masterAccount: customer.masterAccount,
      broker:
        customer.broker &&
        write(customerFolder(customer.masterAccount), 'broker', customerBroker(plan, customer)),
      auditor:
        customer.auditor && write(customerFolder(customer.masterAccount), 'auditor', auditor(plan, customer)),
      agents: customer.agents.map((agent) =>
        write(customerFolder(customer.masterAccount), agent.name, agentConfig(plan, customer, agent)),
      ),
    })),
  };
}

function vendorBroker({ vendor }: DeploymentPlan): string {
  return `# The vendor's broker, in its DMZ: takes what customers' brokers and directly connected devices send.
# Start: plombe broker --config broker.yaml

# Appears in logs and in $SYS.
name: ${vendorBrokerName}
# Where to listen for MQTT over mutual TLS.
listen: ${vendor.broker.listen}
# Keys and certificates, as \`plombe pki issue\` writes them.
identity: ./identities/${vendorBrokerName}
# Sessions, queues and retained messages.
data: ./data/broker
# Acknowledge when the message is on the disk (\`disk\`), or when the operating system has it (\`os\`).
durability: disk
${revocationLines}# Sessions that exist from the start: what arrives before the backend has ever connected waits for it.
expectedSessions:
  - identity: ${snapshotServiceName}
    clientId: backend-of-${snapshotServiceName}
    subscriptions: ["+/+/+/snapshots", "+/+/+/status", "+/+/+/certificates"]
  - identity: ${commandServiceName}
    clientId: backend-of-${commandServiceName}
    subscriptions: ["+/+/+/commands/result", "+/+/+/certificates"]
  - identity: ${enrolmentServiceName}
    clientId: registrar-of-${enrolmentServiceName}
    subscriptions: ["+/+/+/enrolment", "+/+/+/enrolment/approval", "vendor/enrolment/+", "vendor/enrolment/+/approval"]
${observeLines(vendor.broker.observe)}`;
}

function customerBroker(
  { vendor }: DeploymentPlan,
  { masterAccount, broker, auditor }: CustomerPlan,
): string {
  if (!broker) throw new TypeError(`${masterAccount} has no broker`);
  return `# ${masterAccount}'s own broker, on its premises. It carries sealed messages and cannot read them.
# Start: plombe broker --config broker.yaml

name: ${masterAccount}
listen: ${broker.listen}
identity: ./identities/broker
data: ./data/broker
durability: disk
${revocationLines}# One outbound connection to the vendor; no inbound port is needed there or here.
cascade:
  upstream: ${vendor.broker.address}
  # The certificate of the broker up there must carry this name.
  brokerName: ${vendorBrokerName}
${
  auditor?.mode === 'enforce'
    ? `  # Of what is sealed, only what the auditor has released goes up.
  forward: released
`
    : `  # What goes up and what comes down has sensible defaults; to narrow it:
  # up: ["${masterAccount}/+/+/snapshots"]
  # down: ["${masterAccount}/+/+/commands"]
`
}${
    auditor
      ? `# What arrives before the auditor has ever connected waits for it.
expectedSessions:
  - identity: ${masterAccount}
    clientId: auditor-of-${masterAccount}
    subscriptions:
      - "${masterAccount}/+/+/snapshots"
      - "${masterAccount}/+/+/shared/+/snapshots"
      - "${masterAccount}/+/+/commands"
      - "${masterAccount}/+/+/commands/result"
      - "${masterAccount}/+/+/certificates"
`
      : ''
  }${observeLines(broker.observe)}`;
}

function auditor({ vendor }: DeploymentPlan, { masterAccount, broker, auditor: plan }: CustomerPlan): string {
  return `# ${masterAccount}'s auditor: opens, checks and records every snapshot that leaves.
# Start: plombe auditor --config auditor.yaml        List: plombe auditor list --config auditor.yaml

broker: ${broker?.address ?? vendor.broker.address}
brokerName: ${broker ? masterAccount : vendorBrokerName}
# The TLS, SIG and ENC keys of ${masterAccount} itself.
identity: ./identities/auditor
data: ./data/auditor
# Who may read our snapshots. Anybody else among an envelope's recipients raises an alarm.
recipients:
  - ./recipients/${snapshotServiceName}.enc.chain.pem
  - ./recipients/${masterAccount}.enc.chain.pem
# Whose commands to our devices are recorded.
commandIssuers:
  - ./issuers/${commandServiceName}
${
  plan?.mode === 'enforce'
    ? `# Nothing leaves before it is released; the broker's cascade says \`forward: released\`.
mode: enforce
`
    : ''
}# A page on the premises: what left, what is held, the ledger. Accounts: plombe auditor user add NAME --role releaser
${
  plan?.page === undefined
    ? `# page:
#   listen: 127.0.0.1:8090
`
    : `page:
  listen: ${plan.page}
`
}${observeLines(plan?.observe)}`;
}

function agentConfig({ vendor }: DeploymentPlan, customer: CustomerPlan, agent: AgentPlan): string {
  const { masterAccount, broker, auditor: auditorPlan } = customer;
  return `# A device agent of ${masterAccount}: takes snapshots, seals them, and sends them.
# Start: plombe agent --config ${agent.name}.yaml

broker: ${broker?.address ?? vendor.broker.address}
# The broker's certificate must carry this name.
brokerName: ${broker ? masterAccount : vendorBrokerName}
# The outbox: what is sealed and not yet acknowledged survives a power cut here.
data: ./data/${agent.name}
# Every snapshot is sealed for these, and for nobody else.
recipients:
  - ./recipients/${snapshotServiceName}.enc.chain.pem
  - ./recipients/${masterAccount}.enc.chain.pem
# Whose commands are executed (beside those of the device's owner).
commandIssuers:
  - ./issuers/${commandServiceName}
${
  auditorPlan?.mode === 'enforce'
    ? `# What the owner's policy asks about is sealed: the auditor holds it until somebody has decided.
policy: { asked: sealed }
`
    : ''
}# How long a stop waits for what is not yet delivered; what is left is sent after the next start.
drainSeconds: ${agent.drainSeconds ?? 10}
${agent.replay ? replayLines(agent.replay, agent.devices) : ''}devices:
${agent.devices.map(deviceLines).join('')}${observeLines(agent.observe)}`;
}

function replayLines(replay: NonNullable<AgentPlan['replay']>, devices: readonly DevicePlan[]): string {
  const units = devices.flatMap((device) => (device.kind === 'replay' ? [device] : []));
  return `# Snapshots come from a file: which of its units is which device.
replay:
  file: ${quote(replay.file)}
  format: ${replay.format}
  # Snapshots per second and device, or \`max\`.
  speed: ${replay.speed}
${replay.csv ? csvLines(replay.csv) : ''}  units:
${units.map(({ unit, path: device }) => `    ${quote(unit)}: ${device}\n`).join('')}`;
}

function csvLines({ deviceType, timeColumn, deviceColumn }: CsvPlan): string {
  return `  csv:
    deviceType: ${quote(deviceType)}
${timeColumn === undefined ? '' : `    timeColumn: ${quote(timeColumn)}\n`}${
    deviceColumn === undefined ? '' : `    deviceColumn: ${quote(deviceColumn)}\n`
  }`;
}

function deviceLines(device: DevicePlan): string {
  const identity = `  - identity: ./${deviceIdentityFolder(device.path)}\n`;
  if (device.kind === 'replay') return identity;
  return `${identity}    # A simulated ${device.type === 'FM' ? 'fuel meter' : 'particle counter'}; put \`csv\`, \`stdin\` or a collector of your own here.
    collector: { kind: simulator, type: ${device.type}, condition: ${device.condition}, intervalMs: ${device.intervalMs}, seed: ${device.seed}${
      device.usageEvery === undefined ? '' : `, usageEvery: ${device.usageEvery}`
    } }
`;
}

function backend({ vendor, customers }: DeploymentPlan): string {
  const auditing = customers.filter(({ auditor: plan }) => plan !== undefined);
  const enforcing = auditing.filter(({ auditor: plan }) => plan?.mode === 'enforce');
  return `# The vendor's backend: verifies, opens and stores snapshots, sends commands, serves the dashboard.
# Start: plombe backend --config backend.yaml
# First user: plombe user add NAME --role operator --config backend.yaml

broker: ${vendor.broker.address}
brokerName: ${vendorBrokerName}
identity: ./identities/${snapshotServiceName}
commandIdentity: ./identities/${commandServiceName}
${
  auditing.length === 0
    ? ''
    : `# The auditors of these customers read the commands to their own devices.
commandReaders:
${auditing.map(({ masterAccount }) => `  - ./${commandReaderFile(masterAccount)}\n`).join('')}`
}${
    enforcing.length === 0
      ? ''
      : `# Of the devices of these customers, only what their auditors have signed too is stored.
releasers:
${enforcing.map(({ masterAccount }) => `  - ./${releaserFile(masterAccount)}\n`).join('')}`
  }# sqlite:./file, or mysql://user:password@host:port/database for MySQL and MariaDB.
database: ${vendor.database}
# What it keeps beside the database: the revocation lists.
data: ./data/backend
http:
  # The dashboard. Put it behind a TLS-terminating proxy before you open it to a network.
  listen: ${vendor.http}
${observeLines(vendor.backendObserve)}`;
}

function bpm({ vendor }: DeploymentPlan): string {
  return `# The workflow engine: classifies snapshots, sends mails, creates tasks.
# Start: plombe bpm --config bpm.yaml

# The same database as the backend's.
database: ${vendor.database}
# The technician in charge, for the tasks and messages of abnormal conditions.
# technician: { mail: technician@example.com, phone: "+43 1 234567" }
# Without a mail server, mails are listed on the dashboard.
# mail: { smtp: "smtp://mail.example.com:587", from: plombe@example.com, to: [service@example.com] }
${observeLines(vendor.bpmObserve)}`;
}

function registrar({ vendor }: DeploymentPlan): string {
  return `# The registrar: certifies devices that ask for it, publishes what is revoked, renews revocation lists.
# Start: plombe registrar --config registrar.yaml
# It works with the authority's keys: give it a machine of its own, which connects to the broker and takes no connection.

broker: ${vendor.broker.address}
brokerName: ${vendorBrokerName}
authority: ../pki
# If the keys of the authority are encrypted: a file whose first line opens them.
# authorityPassphraseFile: ./passphrase
identity: ./identities/${enrolmentServiceName}
crlIdentity: ./identities/${crlServiceName}
# The journal: what was asked, what was answered, which invitations are used.
data: ./data/registrar
# Lifetime of the certificates of devices.
certificateDays: 730
# Revocation lists are renewed when half of this is over.
crlDays: 7
${observeLines(vendor.registrarObserve)}`;
}
