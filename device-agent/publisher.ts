/** One device's connection: says that it is there, then sends what waits in the outbox, oldest first. */
import { encodeDeviceCertificates } from '../domain/device-certificates.ts';
import { encodeDeviceStatus } from '../domain/device-status.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { deviceTopic } from '../domain/topic.ts';
import type { LinkSubscription } from '../mqtt/client-packets.ts';
import type { MessageHandler } from '../mqtt/inbox.ts';
import { LinkError } from '../mqtt/link-error.ts';
import type { Link } from '../mqtt/link.ts';
import { openLink } from '../mqtt/link.ts';
import type { GrantedSubscription } from '../mqtt/subscriptions.ts';
import type { E2eIdentity, TlsIdentity } from '../pki/identity.ts';
import { e2eCrlTopic } from '../pki/revocation-lists.ts';
import type { Endpoint } from '../runtime/config.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import type { Outbox } from './outbox.ts';

export interface PublisherOptions {
  readonly device: NamespacePath;
  readonly broker: Endpoint;
  readonly brokerName: string | readonly string[];
  readonly tls: TlsIdentity;
  readonly e2e: E2eIdentity;
  readonly outbox: Outbox;
  readonly agentVersion: string;
  /** Absent: the device takes no commands. */
  readonly onCommand?: MessageHandler;
  /** Absent: revocation lists come by another device's connection. */
  readonly onLists?: (payload: Buffer) => void;
  /** After each delivery. */
  readonly onDelivered: () => void;
  readonly log: Log;
  readonly reconnect?: BackoffLimits;
}

/** Envelopes of one device that are sent and not acknowledged; the broker has room for more. */
const windowMax = 64;
/** The window is filled up when half of it is free, so that the outbox is asked for several at a time. */
const refillAt = windowMax / 2;
/** How long a stop waits for the broker to take the last word. */
const farewellMs = 2000;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #link: Link;
  /** The last sequence number that was handed to the link. */
  #cursor = 0;
  #inFlight = 0;
  #introduced = false;
  #introducing = false;

  constructor(options: PublisherOptions) {
    const { device, broker, brokerName, tls, log, reconnect } = options;
    this.#options = options;
    this.#link = openLink({
      broker,
      brokerName,
      identity: tls,
      clientId: `agent-of-${device}`,
      cleanSession: false, // commands that come while we are away wait for us
      will: { topic: deviceTopic(device, 'status'), payload: this.#status('offline'), qos: 1, retain: true },
      inFlightMax: windowMax + 2, // and the introduction
      ...incomingOptions(options),
      onConnect: () => this.#introduce(),
      log,
      ...(reconnect === undefined ? {} : { reconnect }),
    });
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  /** Sends what the outbox has and the window has room for. */
  send(): void {
    if (!this.#introduced || this.#inFlight > refillAt) return;
    const { device, outbox } = this.#options;
    for (const entry of outbox.pendingAfter(device, this.#cursor, windowMax - this.#inFlight)) {
      this.#cursor = entry.sequence;
      this.#inFlight += 1;
      void this.#sendOne(deviceTopic(device, entry.topicName), entry.sequence, entry.envelope);
    }
  }

  /** Says that the device goes, and goes. */
  async close(): Promise<void> {
    if (this.#link.connected) {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, farewellMs);
      await Promise.race([this.#publishRetained('status', this.#status('offline')), late]);
      clearTimeout(timer);
    }
    await this.#link.close();
  }

  async #sendOne(topic: string, sequence: number, envelope: Buffer): Promise<void> {
    const { device, outbox, onDelivered } = this.#options;
    try {
      await this.#link.publish(topic, envelope, { qos: 1 });
    } catch (error) {
      if (error instanceof LinkError && error.code === 'mqtt.closed') return; // it waits for the next start
      throw error;
    }
    this.#inFlight -= 1;
    outbox.delivered(device, sequence);
    onDelivered();
    this.send();
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
    const { signature, keyAgreement } = this.#options.e2e;
    const certificates = encodeDeviceCertificates({
      signature: signature.chain.map((certificate) => certificate.der),
      keyAgreement: keyAgreement.chain.map((certificate) => certificate.der),
    });
    this.#introducing = true; // until acknowledged: after a reconnect the link itself sends it again
    await Promise.all([
      this.#publishRetained('certificates', certificates),
      this.#publishRetained('status', this.#status('online')),
    ]);
    this.#introducing = false;
  }

  async #publishRetained(name: 'certificates' | 'status', payload: string | Uint8Array): Promise<void> {
    try {
      await this.#link.publish(deviceTopic(this.#options.device, name), payload, { qos: 1, retain: true });
    } catch (error) {
      if (!(error instanceof LinkError && error.code === 'mqtt.closed')) throw error;
    }
  }

  #status(state: 'online' | 'offline'): string {
    return encodeDeviceStatus({ state, agentVersion: this.#options.agentVersion });
  }
}

/** From the first `commands.subscribed` on, commands wait at the broker while the device is away. */
function incomingOptions({ device, onCommand, onLists, log }: PublisherOptions) {
  const commands = deviceTopic(device, 'commands');
  const subscriptions: LinkSubscription[] = [
    ...(onCommand === undefined ? [] : [{ filter: commands, qos: 1 as const }]),
    ...(onLists === undefined ? [] : [{ filter: e2eCrlTopic, qos: 1 as const }]),
  ];
  const onMessage: MessageHandler = (message, acknowledge) => {
    if (message.topic === commands && onCommand !== undefined) return onCommand(message, acknowledge);
    if (message.topic === e2eCrlTopic) onLists?.(message.payload);
    acknowledge();
  };
  return {
    subscriptions,
    onMessage,
    onSubscribed: (granted: readonly GrantedSubscription[]) => {
      const found = granted.find(({ filter }) => filter === commands);
      if (found !== undefined) log.info({ granted: found.granted }, 'commands.subscribed');
    },
  };
}
