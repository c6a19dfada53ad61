/** One device's connection: says that it is there, then sends what waits in the outbox, oldest first. */
import { encodeDeviceCertificates } from '../domain/device-certificates.ts';
import type { PolicyStatus } from '../domain/device-status.ts';
import { encodeDeviceStatus } from '../domain/device-status.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { ownersOf } from '../domain/namespace.ts';
import { deviceTopic, policyTopic } from '../domain/topic.ts';
import type { LinkSubscription } from '../mqtt/client-packets.ts';
import type { MessageHandler } from '../mqtt/inbox.ts';
import { LinkError } from '../mqtt/link-error.ts';
import type { Link } from '../mqtt/link.ts';
import { openLink } from '../mqtt/link.ts';
import type { GrantedSubscription } from '../mqtt/subscriptions.ts';
import type { E2eIdentity, TlsIdentity } from '../pki/identity.ts';
import type { BrokerLists } from '../pki/broker-lists.ts';
import { tlsCrlTopic } from '../pki/broker-lists.ts';
import { e2eCrlTopic } from '../pki/revocation-lists.ts';
import type { Endpoint } from '../runtime/config.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { sealedBy } from './key-slots/sealed-by.ts';
import type { StoredEnvelope } from './outbox-store.ts';
import type { Outbox } from './outbox.ts';
import { streamTopic } from './stream.ts';

export interface PublisherOptions {
  readonly device: NamespacePath;
  readonly broker: Endpoint;
  readonly brokerName: string | readonly string[];
  readonly tls: TlsIdentity;
  readonly e2e: E2eIdentity;
  /** Other identities of the device, by which something that waits may have been sealed. */
  readonly others: readonly E2eIdentity[];
  readonly outbox: Outbox;
  readonly agentVersion: string;
  /** Absent: the device takes no commands. */
  readonly onCommand?: MessageHandler;
  /** Which brokers are revoked. */
  readonly brokerLists: BrokerLists;
  /** Absent: revocation lists come by another device's connection. */
  readonly onLists?: (payload: Buffer) => void;
  /** Absent: the device is not told where it is to go. */
  readonly onEnrolmentMessage?: (payload: Buffer) => void;
  /** Absent: it seals nothing any more, so nobody's policy matters. */
  readonly onPolicy?: (payload: Buffer) => void;
  /** What its status says of the policies that it obeys. */
  readonly policyStatus: () => PolicyStatus;
  /** After each delivery. */
  readonly onDelivered: (stream: string, sequence: number) => void;
  readonly log: Log;
  readonly reconnect?: BackoffLimits;
}

/** Envelopes of one device that are sent and not acknowledged; the broker has room for more. */
const windowMax = 64;
/** The window is filled up when half of it is free, so that the outbox is asked for several at a time. */
const refillAt = windowMax / 2;
/** How often it says how far it is, if it is further: who loses what came since learns so that it did. */
const sayEveryMs = 3_600_000;
/** How long a stop waits for the broker to take the last word. */
const farewellMs = 2000;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #link: Link;
  /** Of each stream, the last sequence number that was handed to the link. */
  readonly #cursors = new Map<string, number>();
  #inFlight = 0;
  #introduced = false;
  #introducing = false;
  /** Up to which number the broker has said to have everything, when it was last told to everybody. */
  #saidUpTo = 0;
  readonly #sayTimer: NodeJS.Timeout;
  /** Whose certificates the broker keeps, as far as we know: those that what we send now was sealed by. */
  #shown: E2eIdentity | undefined;
  #others: readonly E2eIdentity[];

  constructor(options: PublisherOptions) {
    const { device, broker, brokerName, tls, brokerLists, outbox, log, reconnect } = options;
    this.#options = options;
    this.#others = options.others;
    this.#link = openLink({
      broker,
      brokerName,
      identity: tls,
      requireUnrevoked: (peer) => brokerLists.requireUnrevoked(peer),
      clientId: `agent-of-${device}`,
      cleanSession: false, // commands that come while we are away wait for us
      will: { topic: deviceTopic(device, 'status'), payload: this.#status('offline'), qos: 1, retain: true },
      inFlightMax: windowMax + 2, // and the introduction
      ...incomingOptions(options),
      onConnect: () => this.#introduce(),
      log,
      ...(reconnect === undefined ? {} : { reconnect }),
    });
    this.#sayTimer = setInterval(() => {
      if (outbox.sentUpTo(device) > this.#saidUpTo) this.sayStatus();
    }, sayEveryMs);
    this.#sayTimer.unref();
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  /** Sends what the outbox has and the window has room for. */
  send(): void {
    if (!this.#introduced || this.#inFlight > refillAt) return;
    const { device, outbox } = this.#options;
    for (const stream of outbox.streamsOf(device)) if (!this.#sendStream(stream)) return;
  }

  /** @returns false if nothing may follow for now: what is on its way was sealed by another identity */
  #sendStream(stream: string): boolean {
    const cursor = this.#cursors.get(stream) ?? 0;
    for (const entry of this.#options.outbox.pendingAfter(stream, cursor, windowMax - this.#inFlight)) {
      const sealer = sealedBy(entry.envelope, this.#identities);
      if (sealer !== this.#shown) {
        if (this.#inFlight > 0) return false;
        this.#shown = sealer;
        void this.#publishRetained('certificates', certificatesOf(sealer)); // before the envelope, on the same connection
      }
      this.#cursors.set(stream, entry.sequence);
      this.#inFlight += 1;
      void this.#sendOne(stream, entry);
    }
    return true;
  }

  /** Nothing that waits was sealed by another identity any more. */
  forgetOthers(): void {
    this.#others = [];
    const { e2e } = this.#options;
    if (this.#shown === e2e || !this.#introduced) return;
    this.#shown = e2e;
    void this.#publishRetained('certificates', certificatesOf(e2e));
  }

  /** Says anew what state it is in. */
  sayStatus(): void {
    if (this.#introduced) void this.#publishRetained('status', this.#status('online'));
  }

  /** Goes without a word, for another connection takes over. */
  async release(): Promise<void> {
    clearInterval(this.#sayTimer);
    await this.#link.close();
  }

  /** Says that the device goes, and goes. */
  async close(): Promise<void> {
    clearInterval(this.#sayTimer);
    if (this.#link.connected) {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, farewellMs);
      await Promise.race([this.#publishRetained('status', this.#status('offline')), late]);
      clearTimeout(timer);
    }
    await this.#link.close();
  }

  async #sendOne(stream: string, { topicName, sequence, envelope }: StoredEnvelope): Promise<void> {
    const { outbox, onDelivered } = this.#options;
    try {
      await this.#link.publish(streamTopic(stream, topicName), envelope, { qos: 1 });
    } catch (error) {
      if (error instanceof LinkError && error.code === 'mqtt.closed') return; // it waits for the next start
      throw error;
    }
    this.#inFlight -= 1;
    outbox.delivered(stream, sequence);
    onDelivered(stream, sequence);
    this.send();
  }

  get #identities(): readonly [E2eIdentity, ...E2eIdentity[]] {
    return [this.#options.e2e, ...this.#others];
  }

  /**
   * Who we are comes before the first envelope, so that nobody has to wait for the certificates.
   * On every connect, because the broker has published our last will, or may have lost what it kept.
   */
  #introduce(): void {
    if (!this.#introducing) void this.#publishIntroduction();
    this.#introduced = true;
    this.send();
  }

  async #publishIntroduction(): Promise<void> {
    this.#shown ??= this.#sealerOfNext();
    this.#introducing = true; // until acknowledged: after a reconnect the link itself sends it again
    await Promise.all([
      this.#publishRetained('certificates', certificatesOf(this.#shown)),
      this.#publishRetained('status', this.#status('online')),
    ]);
    this.#introducing = false;
  }

  #sealerOfNext(): E2eIdentity {
    const { device, outbox, e2e } = this.#options;
    const [next] = outbox.streamsOf(device).flatMap((stream) => outbox.pendingAfter(stream, 0, 1));
    return next === undefined ? e2e : sealedBy(next.envelope, this.#identities);
  }

  async #publishRetained(name: 'certificates' | 'status', payload: string | Uint8Array): Promise<void> {
    try {
      await this.#link.publish(deviceTopic(this.#options.device, name), payload, { qos: 1, retain: true });
    } catch (error) {
      if (!(error instanceof LinkError && error.code === 'mqtt.closed')) throw error;
    }
  }

  #status(state: 'online' | 'offline'): string {
    const { device, outbox, agentVersion, policyStatus } = this.#options;
    this.#saidUpTo = outbox.sentUpTo(device);
    return encodeDeviceStatus({ state, agentVersion, sentUpTo: this.#saidUpTo, policy: policyStatus() });
  }
}

function certificatesOf({ signature, keyAgreement }: E2eIdentity): Uint8Array {
  return encodeDeviceCertificates({
    signature: signature.chain.map((certificate) => certificate.der),
    keyAgreement: keyAgreement.chain.map((certificate) => certificate.der),
  });
}

/** From the first `commands.subscribed` on, commands wait at the broker while the device is away. */
function incomingOptions({
  device,
  brokerLists,
  onCommand,
  onLists,
  onEnrolmentMessage,
  onPolicy,
  log,
}: PublisherOptions) {
  const commands = deviceTopic(device, 'commands');
  const enrolment = deviceTopic(device, 'enrolment/reply');
  const lists = onLists === undefined ? [] : [e2eCrlTopic, tlsCrlTopic];
  const policies: readonly string[] =
    onPolicy === undefined ? [] : [...ownersOf(device), device].map(policyTopic);
  const subscriptions: LinkSubscription[] = [
    ...(onCommand === undefined ? [] : [{ filter: commands, qos: 1 as const }]),
    ...lists.map((filter) => ({ filter, qos: 1 as const })),
    ...(onEnrolmentMessage === undefined ? [] : [{ filter: enrolment, qos: 1 as const }]),
    ...policies.map((filter) => ({ filter, qos: 1 as const })),
  ];
  const onMessage: MessageHandler = (message, acknowledge) => {
    if (message.topic === commands && onCommand !== undefined) return onCommand(message, acknowledge);
    if (message.topic === e2eCrlTopic) onLists?.(message.payload);
    if (message.topic === tlsCrlTopic) brokerLists.take(message.payload);
    if (message.topic === enrolment) onEnrolmentMessage?.(message.payload);
    if (policies.includes(message.topic)) onPolicy?.(message.payload); // on the disk before it is acknowledged
    acknowledge();
  };
  return {
    subscriptions,
    onMessage,
    onSubscribed: (granted: readonly GrantedSubscription[]) => {
      const found = granted.find(({ filter }) => filter === commands);
      if (found !== undefined) log.info({ granted: found.granted }, 'commands.subscribed');
      const refused = granted.filter(
        ({ filter, granted: answer }) => policies.includes(filter) && answer === 'refused',
      );
      if (refused.length > 0)
        log.warn({ topics: refused.map(({ filter }) => filter) }, 'policy.not_readable');
    },
  };
}
