/** The auditor: the customer's own reader, which opens, checks, records and, if told to, releases everything that leaves. */
import { createOpener } from '../cms/open.ts';
import { originatorsOf } from '../cms/originator.ts';
import { OriginatorDirectory } from '../cms/originator-directory.ts';
import type { Clock } from '../domain/clock.ts';
import { systemClock } from '../domain/clock.ts';
import type { PolicyPublishing } from '../domain/audit-device-view.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { levelOf, parseNamespacePath } from '../domain/namespace.ts';
import type { Link } from '../mqtt/link.ts';
import { BrokerLists } from '../pki/broker-lists.ts';
import { PkiError } from '../pki/errors.ts';
import { loadIdentity } from '../pki/identity.ts';
import { RevocationLists } from '../pki/revocation-lists.ts';
import { loadCommandIssuers } from '../policy/command-issuers.ts';
import { Policies } from '../policy/policies.ts';
import { stalePolicyOf } from '../pki/stale-crl-type.ts';
import { loadTrustedIdentity } from '../pki/trusted-file.ts';
import type { Log } from '../runtime/log.ts';
import { createLog } from '../runtime/log.ts';
import type { Metrics, ObservationServer } from '../runtime/observe.ts';
import { createMetrics, startObservation } from '../runtime/observe.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { runUntilSignal } from '../runtime/shutdown.ts';
import type { AuditorConfig } from './config.ts';
import { loadAuditorConfig } from './config.ts';
import { Countersigning } from './countersigning.ts';
import { Gate } from './gate.ts';
import type { GateOptions } from './gate.ts';
import { Heads } from './heads.ts';
import type { HeldStore } from './held-store.ts';
import { openHeldStore } from './held-store.ts';
import { Judge } from './judge.ts';
import type { Kept } from './kept.ts';
import { openKept } from './kept.ts';
import type { Links } from './links.ts';
import { openLinks } from './links.ts';
import type { PageSource } from './page/context.ts';
import { startPage } from './page/server.ts';
import { measureAuditor } from './measures.ts';
import { Obedience } from './obedience.ts';
import { eitherOf } from './originators.ts';
import { PolicyCheck } from './policy-check.ts';
import type { EgressRecord } from './record.ts';
import { openRecord } from './record.ts';
import { Recorder } from './recorder.ts';

const hourMs = 3_600_000;
/** Of an auditor that enforces. */
const withoutPolicyHint =
  'publish a policy (plombe policy publish): until then everything waits for a person';

export interface AuditorDependencies {
  readonly log: Log;
  readonly clock?: Clock;
  readonly metrics?: Metrics;
  readonly reconnect?: BackoffLimits;
}

export interface AuditorState {
  readonly scope: string;
  readonly connected: boolean;
  /** Devices whose certificates are known. */
  readonly devices: number;
  /** In the record. */
  readonly entries: number;
  readonly alarms: number;
  /** Since the start: the same envelope once more. */
  readonly redelivered: number;
  /** Envelopes that wait for their device's certificates, or for revocation lists. */
  readonly waiting: number;
  /** Leaves of the ledger, and how many of them the vendor has countersigned. */
  readonly leaves: number;
  readonly countersigned: number;
  /** Envelopes that wait for a person. */
  readonly held: number;
  /** Runs of numbers that are missing. */
  readonly gaps: number;
}

export interface RunningAuditor {
  readonly observePort: number | undefined;
  /** Where people look at it; undefined without a page. */
  readonly pagePort: number | undefined;
  /** Where people decide; undefined for an auditor that only looks on. */
  readonly gate: Gate | undefined;
  state(): AuditorState;
  stop(): Promise<void>;
}

/** Runs the auditor until SIGINT or SIGTERM. */
export async function runAuditor(configFile: string): Promise<never> {
  let config: AuditorConfig;
  try {
    config = loadAuditorConfig(configFile);
  } catch (error) {
    return runUntilSignal('auditor', createLog('auditor'), () => Promise.reject(error));
  }
  const log = createLog('auditor', config.log.level);
  return runUntilSignal('auditor', log, () => startAuditor(config, { log }));
}

/** @throws PkiError, RecordError, LedgerError, PolicyRefusal */
export async function startAuditor(
  config: AuditorConfig,
  dependencies: AuditorDependencies,
): Promise<RunningAuditor> {
  const { log, clock = systemClock, metrics = createMetrics(), reconnect } = dependencies;
  const { passphraseFile, withoutPolicy, data, staleCrl } = config;
  const { commonName, tls, e2e } = loadIdentity(config.identity, { nowMs: clock(), passphraseFile });
  const scope = requireScope(config.identity, commonName);
  const { roots, signature: signer } = e2e;
  const trust = { roots, atMs: clock(), purpose: 'key-agreement' } as const;
  const recipients = config.recipients.map((file) => loadTrustedIdentity(file, trust));
  const shared = { clock, metrics, log };
  const stalePolicy = stalePolicyOf(staleCrl);
  const directory = new OriginatorDirectory(roots);
  const lists = new RevocationLists({ directory: data, roots, stalePolicy, metrics, log });
  const brokerLists = new BrokerLists({ directory: data, roots: tls.roots, clock, log });
  const record = openRecord(data, scope, clock());
  recallCertificates(record, directory, clock(), log);
  const issuers = loadCommandIssuers(config.commandIssuers, roots, clock());
  const originators = eitherOf(directory, originatorsOf(issuers));
  const opener = createOpener({ recipient: e2e.keyAgreement, originators });
  const waitMs = config.certificatesWaitSeconds * 1000;
  const publish = (topic: string, payload: Uint8Array): Promise<void> =>
    links.main.publish(topic, payload, { qos: 1 });
  const policies = new Policies({ directory: data, roots, lists, clock, metrics, log });
  const kept = openKept(config, policies, { clock, log });
  const gate = enforcing(config, { scope, record, signer, publish, clock, log });
  const history = kept.policyHistory;
  const check = new PolicyCheck({ policies, history, recipients, roots, withoutPolicy, clock });
  const obedience = new Obedience();
  const graceMs = config.policyGraceHours * hourMs;
  const judge = new Judge({ record, directory, issuers, opener, check, obedience, lists, graceMs });
  const parts = { record, directory, lists, judge, obedience, gate: gate?.gate, archive: kept.archive };
  const recorder = new Recorder({ ...parts, waitMs, ...shared });
  const own = { scope, record, directory: data, roots };
  const countersigning = new Countersigning({ ...own, signer, lists, publish, ...shared });
  const heads = new Heads({
    record,
    signer,
    everyMs: config.headEverySeconds * 1000,
    afterwards: () => config.countersign && countersigning.ask(),
    ...shared,
  });
  const links: Links = openLinks(
    config,
    tls,
    { scope, recorder, countersigning, policies, brokerLists },
    { log, reconnect },
  );
  const connected = (): boolean => links.main.connected;
  const state = (): AuditorState => ({
    scope,
    connected: connected(),
    devices: directory.size,
    ...recorder.state(),
    leaves: record.head.size,
    countersigned: countersigning.size,
    held: gate?.gate.size ?? 0,
    gaps: record.index.numbers.gapCount,
  });
  measureAuditor(metrics, { record, gate: gate?.gate, countersigned: () => countersigning.size, clock });
  const headsNow = () => ({ signed: heads.signed, countersigned: countersigning.size });
  const policySource = { ...kept, check, policies, publishing: publishingOf(config) };
  const reading = { opener, recipient: e2e.keyAgreement, issuers };
  const seen = { gate: gate?.gate, heads: headsNow, connected };
  const source = { ...own, ...shared, ...policySource, ...reading, ...seen };
  const stopParts = (): Promise<void> => stopAll(links, recorder, heads, record, gate, kept);
  const served = await serve(config, { metrics, link: links.main, state, source }, stopParts);
  gate?.gate.start();
  if (gate !== undefined && isWithoutPolicy(policies))
    log.warn({ scope, withoutPolicy, hint: withoutPolicyHint }, 'policy.missing');
  const { observePort, pagePort } = served;
  log.info({ scope, observePort, pagePort, ...record.counts() }, 'auditor.started');
  return {
    observePort,
    pagePort,
    gate: gate?.gate,
    state,
    stop: async () => {
      recorder.stop();
      const last = recorder.state();
      await served.close(); // the page reads what is closed next
      await stopParts();
      log.info(last, 'auditor.stopped');
    },
  };
}

async function stopAll(
  links: Links,
  recorder: Recorder,
  heads: Heads,
  record: EgressRecord,
  enforcing: Enforcing | undefined,
  kept: Kept,
): Promise<void> {
  recorder.stop(); // acknowledges what it still records, so the links go afterwards
  enforcing?.gate.stop();
  heads.stop();
  await Promise.all([links.main.close(), links.certificates.close()]);
  record.close();
  enforcing?.held.close();
  kept.close();
}

function isWithoutPolicy(policies: Policies): boolean {
  return policies.generation === 0 && policies.signed().length === 0;
}

function publishingOf({ identity, broker, brokerName }: AuditorConfig): PolicyPublishing {
  const [name = ''] = [brokerName].flat();
  return { identity, broker: `${broker.host}:${broker.port}`, brokerName: name };
}

interface Enforcing {
  readonly gate: Gate;
  readonly held: HeldStore;
}

/** @returns undefined for an auditor that only looks on */
function enforcing(
  { mode, data, ask }: AuditorConfig,
  options: Omit<GateOptions, 'held' | 'askMs' | 'atDeadline'>,
): Enforcing | undefined {
  if (mode === 'observe') return undefined;
  const held = openHeldStore(data);
  const atDeadline = ask.atDeadline === 'release' ? 'released' : 'denied';
  return { held, gate: new Gate({ ...options, held, askMs: ask.deadlineHours * hourMs, atDeadline }) };
}

interface Served {
  readonly observePort: number | undefined;
  readonly pagePort: number | undefined;
  close(): Promise<void>;
}

interface Shown {
  readonly metrics: Metrics;
  readonly link: Link;
  readonly state: () => AuditorState;
  readonly source: PageSource;
}

/** What programs and people look at, if configured: both or, after `onFailure`, none. */
async function serve(
  { observe: endpoint, page: pageConfig }: AuditorConfig,
  { metrics, link, state, source }: Shown,
  onFailure: () => Promise<void>,
): Promise<Served> {
  const health = () => (link.connected ? { healthy: true } : { healthy: false, reason: 'not connected' });
  let observation: ObservationServer | undefined;
  try {
    observation = endpoint && (await startObservation(endpoint, { metrics, health, state }));
    const page = pageConfig && (await startPage(pageConfig, source));
    const close = async (): Promise<void> => {
      await Promise.all([observation?.close(), page?.close()]);
    };
    return { observePort: observation?.port, pagePort: page?.port, close };
  } catch (error) {
    await onFailure();
    await observation?.close();
    throw error;
  }
}

function requireScope(directory: string, commonName: string): NamespacePath {
  const scope = parseNamespacePath(commonName);
  if (scope === undefined || levelOf(scope) === 'device') {
    throw new PkiError(
      'pki.path_discipline',
      `${directory}: ${commonName} is no account; an auditor is its owner's`,
    );
  }
  return scope;
}

function recallCertificates(
  record: EgressRecord,
  directory: OriginatorDirectory,
  atMs: number,
  log: Log,
): void {
  for (const { device, payload } of record.index.certificates()) {
    try {
      directory.publish(device, decodeDeviceCertificates(payload), atMs);
    } catch (error) {
      // A CA above it has expired, or another root is pinned now.
      log.debug({ device, reason: String(error) }, 'certificates.forgotten');
    }
  }
}
