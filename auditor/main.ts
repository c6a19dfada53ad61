/** The auditor, in observe mode: the customer's own reader, which opens, checks and records everything that leaves. */
import { createOpener } from '../cms/open.ts';
import { OriginatorDirectory } from '../cms/originator-directory.ts';
import type { Clock } from '../domain/clock.ts';
import { systemClock } from '../domain/clock.ts';
import { decodeDeviceCertificates, DeviceCertificatesError } from '../domain/device-certificates.ts';
import { ledgerCountersignedTopic } from '../domain/ledger-topics.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin, levelOf, parseNamespacePath } from '../domain/namespace.ts';
import type { DeviceTopic } from '../domain/topic.ts';
import { parseDeviceTopic } from '../domain/topic.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import type { LinkSubscription } from '../mqtt/client-packets.ts';
import type { Link } from '../mqtt/link.ts';
import { openLink } from '../mqtt/link.ts';
import { PkiError } from '../pki/errors.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import { loadIdentity } from '../pki/identity.ts';
import { e2eCrlTopic, RevocationLists } from '../pki/revocation-lists.ts';
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
import { Heads } from './heads.ts';
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
}

export interface RunningAuditor {
  readonly observePort: number | undefined;
  state(): AuditorState;
  stop(): Promise<void>;
}

const audited = ['snapshots', 'commands/result', 'certificates'] as const;

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

/** @throws PkiError, RecordError */
export async function startAuditor(
  config: AuditorConfig,
  dependencies: AuditorDependencies,
): Promise<RunningAuditor> {
  const { log, clock = systemClock, metrics = createMetrics(), reconnect } = dependencies;
  const { passphraseFile } = config;
  const { commonName, tls, e2e } = loadIdentity(config.identity, { nowMs: clock(), passphraseFile });
  const scope = requireScope(config.identity, commonName);
  const recipients = config.recipients.map((file) =>
    loadTrustedIdentity(file, { roots: e2e.roots, atMs: clock(), purpose: 'key-agreement' }),
  );
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
  const opener = createOpener({ recipient: e2e.keyAgreement, originators: directory });
  const waitMs = config.certificatesWaitSeconds * 1000;
  const recorder = new Recorder({
    record,
    directory,
    opener,
    recipients,
    lists,
    waitMs,
    clock,
    metrics,
    log,
  });
  const countersigning = new Countersigning({
    scope,
    record,
    signer: e2e.signature,
    roots: e2e.roots,
    lists,
    directory: config.data,
    publish: (topic, payload) => links.main.publish(topic, payload, { qos: 1 }),
    clock,
    log,
  });
  const heads = new Heads({
    record,
    signer: e2e.signature,
    everyMs: config.headEverySeconds * 1000,
    afterwards: () => config.countersign && countersigning.ask(),
    clock,
    log,
  });
  const links: Links = openLinks(config, tls, { scope, recorder, countersigning }, { log, reconnect });
  const state = (): AuditorState => ({
    scope,
    connected: links.main.connected,
    devices: directory.size,
    ...recorder.state(),
    leaves: record.head.size,
    countersigned: countersigning.size,
  });
  const observation = await observe(config, metrics, links.main, state, () =>
    stopAll(links, recorder, heads, record),
  );
  log.info({ scope, observePort: observation?.port, ...record.counts() }, 'auditor.started');
  return {
    observePort: observation?.port,
    state,
    stop: async () => {
      recorder.stop();
      const last = recorder.state();
      await stopAll(links, recorder, heads, record);
      await observation?.close();
      log.info(last, 'auditor.stopped');
    },
  };
}

/** Who takes what comes. */
interface Receivers {
  readonly scope: NamespacePath;
  readonly recorder: Recorder;
  readonly countersigning: Countersigning;
}

interface Links {
  /** The durable session: everything that leaves, in order. */
  readonly main: Link;
  /**
   * A clean session for the retained certificates and revocation lists alone. On the main one they would come after a
   * backlog of envelopes that wait for them.
   */
  readonly certificates: Link;
}

function openLinks(
  config: AuditorConfig,
  tls: TlsIdentity,
  receivers: Receivers,
  { log, reconnect }: { readonly log: Log; readonly reconnect: BackoffLimits | undefined },
): Links {
  const { scope, recorder } = receivers;
  const common = {
    broker: config.broker,
    brokerName: config.brokerName,
    identity: tls,
    onMessage: (message: ReceivedMessage, acknowledge: () => void) =>
      receive(message, acknowledge, receivers, log),
    log,
    ...(reconnect === undefined ? {} : { reconnect }),
  };
  return {
    main: openLink({
      ...common,
      clientId: `auditor-of-${scope}`,
      cleanSession: false, // what leaves while we are away waits for us
      subscriptions: subscriptionsOf(scope, audited),
      onSubscribed: (granted) => log.info({ scope, granted }, 'auditor.subscribed'),
      onDisconnect: () => recorder.forgetUnrecorded(),
    }),
    certificates: openLink({
      ...common,
      clientId: `auditor-certificates-of-${scope}`,
      cleanSession: true,
      subscriptions: [
        { filter: e2eCrlTopic, qos: 1 },
        { filter: ledgerCountersignedTopic(scope), qos: 1 },
        ...subscriptionsOf(scope, ['certificates']),
      ],
    }),
  };
}

async function stopAll(links: Links, recorder: Recorder, heads: Heads, record: EgressRecord): Promise<void> {
  recorder.stop(); // acknowledges what it still records, so the links go afterwards
  heads.stop();
  await Promise.all([links.main.close(), links.certificates.close()]);
  record.close();
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

function subscriptionsOf(scope: NamespacePath, names: readonly DeviceTopic[]): LinkSubscription[] {
  const below = levelOf(scope) === 'master-account' ? '+/+' : '+';
  return names.map((name) => ({ filter: `${scope}/${below}/${name}`, qos: 1 }));
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

function receive(
  message: ReceivedMessage,
  acknowledge: () => void,
  { scope, recorder, countersigning }: Receivers,
  log: Log,
): void {
  if (message.topic === e2eCrlTopic || message.topic === ledgerCountersignedTopic(scope)) {
    if (message.topic === e2eCrlTopic) recorder.takeLists(message.payload);
    else countersigning.take(message.payload);
    acknowledge();
    return;
  }
  const topic = parseDeviceTopic(message.topic);
  if (topic === undefined || !isWithin(topic.device, scope)) {
    log.warn({ topic: message.topic }, 'message.ignored'); // no topic that we asked for
    acknowledge();
    return;
  }
  const { device, name } = topic;
  if (name === 'snapshots' || name === 'commands/result') {
    const content = name === 'snapshots' ? 'snapshot' : 'result';
    recorder.take({ device, content, topic: message.topic, envelope: message.payload }, acknowledge);
    return;
  }
  try {
    recorder.takeCertificates(device, message.payload);
  } catch (error) {
    if (!(error instanceof PkiError || error instanceof DeviceCertificatesError)) throw error;
    recorder.refuseCertificates(device, error.code, error.message);
  }
  acknowledge();
}
