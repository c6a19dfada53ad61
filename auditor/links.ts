/** The auditor's connections to its broker, and who takes what comes over them. */
import { randomUUID } from 'node:crypto';
import { DeviceCertificatesError } from '../domain/device-certificates.ts';
import { ledgerCountersignedTopic } from '../domain/ledger-topics.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin, levelOf, ownersOf, parseNamespacePath } from '../domain/namespace.ts';
import { arrivedTopic, auditorProbeTopic, parseArrivedTopic } from '../domain/release-topics.ts';
import type { DeviceTopic } from '../domain/topic.ts';
import { parseDeviceTopic, parseSharedTopic, policyTopic } from '../domain/topic.ts';
import type { LinkSubscription } from '../mqtt/client-packets.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import type { Link, LinkOptions } from '../mqtt/link.ts';
import { openLink } from '../mqtt/link.ts';
import { PkiError } from '../pki/errors.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import type { BrokerLists } from '../pki/broker-lists.ts';
import { tlsCrlTopic } from '../pki/broker-lists.ts';
import type { VerifiedPath } from '../pki/path.ts';
import { e2eCrlTopic } from '../pki/revocation-lists.ts';
import type { Policies } from '../policy/policies.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import type { AuditorConfig } from './config.ts';
import type { Countersigning } from './countersigning.ts';
import type { Passing } from './examine.ts';
import type { Recorder } from './recorder.ts';

/** Of a device: what is recorded, and the certificates, for a broker whose session they wait in. */
const audited = ['snapshots', 'shared/+/snapshots', 'commands/result', 'certificates'];

/** Should the broker not send the probe back. */
const probeWaitMs = 5000;

/** Who takes what comes. */
export interface Receivers {
  readonly scope: NamespacePath;
  readonly recorder: Recorder;
  readonly countersigning: Countersigning;
  readonly policies: Policies;
  readonly brokerLists: BrokerLists;
}

export interface Links {
  /** The durable session: everything that leaves, in order. */
  readonly main: Link;
  /**
   * A clean session for the retained certificates and revocation lists alone. On the main one they would come after a
   * backlog of envelopes that wait for them.
   */
  readonly certificates: Link;
}

export function openLinks(
  config: AuditorConfig,
  tls: TlsIdentity,
  receivers: Receivers,
  { log, reconnect }: { readonly log: Log; readonly reconnect: BackoffLimits | undefined },
): Links {
  const { scope, recorder, brokerLists } = receivers;
  recorder.pause();
  const common = {
    broker: config.broker,
    brokerName: config.brokerName,
    identity: tls,
    requireUnrevoked: (peer: VerifiedPath) => brokerLists.requireUnrevoked(peer),
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
      subscriptions: subscriptionsOf(scope, [
        ...audited,
        ...(config.commandIssuers.length === 0 ? [] : ['commands']),
      ]).flatMap((subscription) => withArrived(scope, subscription)),
      onSubscribed: (granted) => log.info({ scope, granted }, 'auditor.subscribed'),
      onDisconnect: () => recorder.forgetUnrecorded(),
    }),
    certificates: openCertificates(common, receivers),
  };
}

/**
 * What the broker keeps comes when it has granted the subscriptions, and the probe behind it. Until then nothing is examined:
 * it would be judged by policies that may be old, or by none.
 */
function openCertificates(
  common: Omit<LinkOptions, 'clientId' | 'cleanSession'>,
  { scope, recorder }: Receivers,
): Link {
  const probeTopic = auditorProbeTopic(scope);
  let probe = '';
  const link: Link = openLink({
    ...common,
    clientId: `auditor-certificates-of-${scope}`,
    cleanSession: true,
    onConnect: () => {
      recorder.pause();
      probe = randomUUID();
    },
    onSubscribed: () => {
      setTimeout(() => recorder.resume(), probeWaitMs).unref();
      link.publish(probeTopic, Buffer.from(probe), { qos: 1 }).catch(() => undefined); // the link was closed
    },
    onMessage: (message, acknowledge) => {
      if (message.topic !== probeTopic) return common.onMessage?.(message, acknowledge);
      if (message.payload.toString() === probe) recorder.resume();
      return acknowledge();
    },
    subscriptions: [
      { filter: probeTopic, qos: 1 },
      { filter: e2eCrlTopic, qos: 1 },
      { filter: tlsCrlTopic, qos: 1 },
      { filter: ledgerCountersignedTopic(scope), qos: 1 },
      ...policySubscriptions(scope),
      ...subscriptionsOf(scope, ['certificates', 'status']),
    ],
  });
  return link;
}

function subscriptionsOf(scope: NamespacePath, names: readonly string[]): LinkSubscription[] {
  const below = levelOf(scope) === 'master-account' ? '+/+' : '+';
  return names.map((name) => ({ filter: `${scope}/${below}/${name}`, qos: 1 }));
}

/** A cascade with `deliver: released` puts commands where they wait for us. */
function withArrived(scope: NamespacePath, subscription: LinkSubscription): LinkSubscription[] {
  const { filter } = subscription;
  if (!filter.endsWith('/commands')) return [subscription];
  return [subscription, { ...subscription, filter: arrivedTopic(scope, filter) }];
}

/** Of whoever is above, whose policies count too, and of everybody below. */
function policySubscriptions(scope: NamespacePath): LinkSubscription[] {
  const below = levelOf(scope) === 'master-account' ? ['+', '+/+'] : ['+'];
  const filters = [
    ...[...ownersOf(scope), scope].map(policyTopic),
    ...below.map((path) => `${scope}/${path}/policy`),
  ];
  return filters.map((filter) => ({ filter, qos: 1 }));
}

const policyEnd = '/policy';

function receive(
  message: ReceivedMessage,
  acknowledge: () => void,
  { scope, recorder, countersigning, policies, brokerLists }: Receivers,
  log: Log,
): void {
  const { payload } = message;
  const arrived = parseArrivedTopic(scope, message.topic);
  const topic = arrived ?? message.topic;
  const place = parseDeviceTopic(topic);
  const shared = parseSharedTopic(topic);
  const device = shared?.device ?? place?.device;
  if (topic === e2eCrlTopic) {
    recorder.takeLists(payload);
    policies.retry();
    recorder.policiesChanged();
  } else if (topic === tlsCrlTopic) {
    brokerLists.take(payload);
  } else if (topic === ledgerCountersignedTopic(scope)) {
    countersigning.take(payload);
  } else if (topic.endsWith(policyEnd)) {
    const path = parseNamespacePath(topic.slice(0, -policyEnd.length));
    if (path !== undefined && policies.take(path, payload)) recorder.policiesChanged();
  } else if (device === undefined || !isWithin(device, scope)) {
    log.warn({ topic }, 'message.ignored'); // no topic that we asked for
  } else if (place?.name === 'certificates') {
    takeCertificates(device, payload, recorder);
  } else if (place?.name === 'status') {
    recorder.takeStatus(device, payload);
  } else {
    const content = contentAt(place?.name);
    const waits = content !== 'command' || arrived !== undefined;
    return recorder.take({ device, content, waits, topic, envelope: payload }, acknowledge);
  }
  return acknowledge();
}

function contentAt(name: DeviceTopic | undefined): Passing['content'] {
  if (name === 'commands/result') return 'result';
  return name === 'commands' ? 'command' : 'snapshot';
}

function takeCertificates(device: NamespacePath, payload: Buffer, recorder: Recorder): void {
  try {
    recorder.takeCertificates(device, payload);
  } catch (error) {
    if (!(error instanceof PkiError || error instanceof DeviceCertificatesError)) throw error;
    recorder.refuseCertificates(device, error.code, error.message);
  }
}
