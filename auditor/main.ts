/** The auditor, in observe mode: the customer's own reader, which opens, checks and records everything that leaves. */
import { createOpener } from '../cms/open.ts';
import type { Originators } from '../cms/originator.ts';
import { originatorsOf } from '../cms/originator.ts';
import { OriginatorDirectory } from '../cms/originator-directory.ts';
import type { Clock } from '../domain/clock.ts';
import { systemClock } from '../domain/clock.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { levelOf, parseNamespacePath } from '../domain/namespace.ts';
import type { Link } from '../mqtt/link.ts';
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
import type { Links } from './links.ts';
import { openLinks } from './links.ts';
import { PolicyCheck } from './policy-check.ts';
import type { EgressRecord } from './record.ts';
import { openRecord } from './record.ts';
import { Recorder } from './recorder.ts';

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
}

export interface RunningAuditor {
  readonly observePort: number | undefined;
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
  const { passphraseFile, withoutPolicy } = config;
  const { commonName, tls, e2e } = loadIdentity(config.identity, { nowMs: clock(), passphraseFile });
  const scope = requireScope(config.identity, commonName);
  const trust = { roots: e2e.roots, atMs: clock(), purpose: 'key-agreement' } as const;
  const recipients = config.recipients.map((file) => loadTrustedIdentity(file, trust));
  const shared = { clock, metrics, log };
  const directory = new OriginatorDirectory(e2e.roots);
  const lists = new RevocationLists({
    directory: config.data,
    roots: e2e.roots,
    stalePolicy: stalePolicyOf(config.staleCrl),
    metrics,
    log,
  });
  const record = openRecord(config.data, scope, clock());
  recallCertificates(record, directory, clock(), log);
  const issuers = originatorsOf(loadCommandIssuers(config.commandIssuers, e2e.roots, clock()));
  const opener = createOpener({ recipient: e2e.keyAgreement, originators: eitherOf(directory, issuers) });
  const waitMs = config.certificatesWaitSeconds * 1000;
  const publish = (topic: string, payload: Uint8Array): Promise<void> =>
    links.main.publish(topic, payload, { qos: 1 });
  const policies = new Policies({ directory: config.data, roots: e2e.roots, lists, clock, metrics, log });
  const gate = enforcing(config, { scope, record, signer: e2e.signature, publish, clock, log });
  const recorder = new Recorder({
    record,
    directory,
    opener,
    check: new PolicyCheck({ policies, recipients, roots: e2e.roots, withoutPolicy, clock }),
    gate: gate?.gate,
    lists,
    waitMs,
    ...shared,
  });
  const countersigning = new Countersigning({
    scope,
    record,
    signer: e2e.signature,
    roots: e2e.roots,
    lists,
    directory: config.data,
    publish,
    ...shared,
  });
  const heads = new Heads({
    record,
    signer: e2e.signature,
    everyMs: config.headEverySeconds * 1000,
    afterwards: () => config.countersign && countersigning.ask(),
    ...shared,
  });
  const links: Links = openLinks(
    config,
    tls,
    { scope, recorder, countersigning, policies },
    { log, reconnect },
  );
  const state = (): AuditorState => ({
    scope,
    connected: links.main.connected,
    devices: directory.size,
    ...recorder.state(),
    leaves: record.head.size,
    countersigned: countersigning.size,
    held: gate?.gate.size ?? 0,
  });
  const observation = await observe(config, metrics, links.main, state, () =>
    stopAll(links, recorder, heads, record, gate),
  );
  gate?.gate.start();
  log.info({ scope, observePort: observation?.port, ...record.counts() }, 'auditor.started');
  return {
    observePort: observation?.port,
    gate: gate?.gate,
    state,
    stop: async () => {
      recorder.stop();
      const last = recorder.state();
      await stopAll(links, recorder, heads, record, gate);
      await observation?.close();
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
): Promise<void> {
  recorder.stop(); // acknowledges what it still records, so the links go afterwards
  enforcing?.gate.stop();
  heads.stop();
  await Promise.all([links.main.close(), links.certificates.close()]);
  record.close();
  enforcing?.held.close();
}

/** Devices, by what they published, and those who command them. */
function eitherOf(first: Originators, second: Originators): Originators {
  return {
    byKeyIdentifier: (id) => first.byKeyIdentifier(id) ?? second.byKeyIdentifier(id),
    byIssuerAndSerial: (issuer, serial) =>
      first.byIssuerAndSerial(issuer, serial) ?? second.byIssuerAndSerial(issuer, serial),
    byPublicPoint: (curve, point) => first.byPublicPoint(curve, point) ?? second.byPublicPoint(curve, point),
  };
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
  return { held, gate: new Gate({ ...options, held, askMs: ask.deadlineHours * 3_600_000, atDeadline }) };
}

async function observe(
  { observe: endpoint }: AuditorConfig,
  metrics: Metrics,
  link: Link,
  state: () => AuditorState,
  onFailure: () => Promise<void>,
): Promise<ObservationServer | undefined> {
  if (endpoint === undefined) return undefined;
  const health = () => (link.connected ? { healthy: true } : { healthy: false, reason: 'not connected' });
  try {
    return await startObservation(endpoint, { metrics, health, state });
  } catch (error) {
    await onFailure();
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
