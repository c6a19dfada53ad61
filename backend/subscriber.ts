/** The backend's persistent session on the broker: what comes is acknowledged when it is committed. */
import { noteBroker } from '../database/brokers.ts';
import { keepCertificates } from '../database/certificates.ts';
import type { Database } from '../database/connect.ts';
import { readLettersFor, readWaitingPaths, removeDeadLetters } from '../database/dead-letters.ts';
import { noteStatus } from '../database/fleet.ts';
import type { BrokerStatus } from '../domain/broker-status.ts';
import { parseBrokerStatus, parseBrokerStatusTopic } from '../domain/broker-status.ts';
import type { Clock } from '../domain/clock.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import { parseDeviceStatus } from '../domain/device-status.ts';
import { parseDeviceTopic } from '../domain/topic.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import { e2eCrlTopic } from '../pki/revocation-lists.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Log } from '../runtime/log.ts';
import { passingReasons, staleLists } from './decryptor.ts';
import type { Feed } from './feed.ts';
import type { Ingest } from './ingest.ts';
import { countRejected } from './measures.ts';
import type { BackendMeasures } from './measures.ts';
import type { Trust } from './opener-messages.ts';
import { publishedChains } from './published-chains.ts';

export interface SubscriberOptions {
  readonly database: Database;
  /** Hands certificates to whoever verifies them. */
  readonly publish: (path: string, payload: Buffer) => Promise<Trust>;
  /** Called when lists came that were news. */
  readonly onLists: () => void;
  /** Called when certificates came that were news. */
  readonly onTrusted: () => void;
  readonly lists: RevocationLists;
  readonly ingest: () => Ingest;
  readonly measures: BackendMeasures;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly log: Log;
}

/** A refusal may concern a whole batch of payloads; a log line of it stays short. */
const detailLengthMax = 400;

export class Subscriber {
  readonly #options: SubscriberOptions;
  /** Devices whose put-aside envelopes are being offered again. */
  readonly #retrying = new Set<string>();

  constructor(options: SubscriberOptions) {
    this.#options = options;
  }

  /** Handles one message of either link. Whatever goes wrong with the database leaves it unacknowledged. */
  receive(message: ReceivedMessage, acknowledge: () => void): void {
    if (message.topic === e2eCrlTopic) {
      this.#settle(this.#takeLists(message.payload), acknowledge);
      return;
    }
    const broker = parseBrokerStatusTopic(message.topic);
    const brokerStatus = broker && parseBrokerStatus(message.payload);
    if (broker !== undefined && brokerStatus !== undefined) {
      this.#settle(this.#takeBrokerStatus(broker, brokerStatus), acknowledge);
      return;
    }
    const place = parseDeviceTopic(message.topic);
    if (broker !== undefined && place === undefined) {
      // A retained status was cleared, or it is of a version that we do not know.
      if (message.payload.length > 0) countRejected(this.#options.measures, 'malformed_status');
      acknowledge();
    } else if (place?.name === 'status') {
      this.#settle(this.#takeStatus(place.device, message.payload), acknowledge);
    } else if (place?.name === 'certificates') {
      this.#settle(this.#takeCertificates(place.device, message.payload), acknowledge);
    } else {
      const { topic, payload } = message;
      this.#options.ingest().offer({ topic, payload, receivedMs: this.#options.clock(), acknowledge });
    }
  }

  /** Offers again what was put aside while certificates or revocation lists were not here, of every device. */
  async retryAll(): Promise<void> {
    for (const reason of passingReasons) await this.#retryWaiting(reason);
  }

  /** The same, of one device. */
  async retry(path: string): Promise<void> {
    const { database, ingest } = this.#options;
    if (this.#retrying.has(path)) return;
    this.#retrying.add(path);
    try {
      for (const { id, topic, payload, receivedMs, reason } of await this.#waitingLetters(path)) {
        ingest().offer({
          topic,
          payload: Buffer.from(payload),
          receivedMs,
          putAsideFor: reason,
          acknowledge: () => this.#settle(removeDeadLetters(database, [id]), () => undefined),
        });
      }
    } finally {
      this.#retrying.delete(path);
    }
  }

  async #waitingLetters(path: string): ReturnType<typeof readLettersFor> {
    const { database } = this.#options;
    const found = await Promise.all(
      Array.from(passingReasons, (reason) => readLettersFor(database, path, reason)),
    );
    return found.flat().toSorted((one, other) => one.id - other.id);
  }

  async #retryWaiting(reason: string): Promise<void> {
    for (const path of await readWaitingPaths(this.#options.database, reason)) await this.retry(path);
  }

  #settle(work: Promise<void>, done: () => void): void {
    work.then(done, (error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'message.not_stored');
    });
  }

  async #takeLists(payload: Buffer): Promise<void> {
    if (!this.#options.lists.take(payload)) return;
    this.#options.onLists();
    await this.#retryWaiting(staleLists);
  }

  async #takeStatus(path: string, payload: Buffer): Promise<void> {
    const { database, clock, measures } = this.#options;
    const status = parseDeviceStatus(payload);
    if (status === undefined) {
      if (payload.length > 0) countRejected(measures, 'malformed_status');
      return;
    }
    await noteStatus(database, path, status, clock());
  }

  async #takeBrokerStatus(path: string, status: BrokerStatus): Promise<void> {
    const { database, clock, feed } = this.#options;
    await noteBroker(database, path, status, clock());
    feed.changed('brokers');
  }

  async #takeCertificates(path: string, payload: Buffer): Promise<void> {
    const { database, measures, publish, onTrusted, clock, log } = this.#options;
    if (payload.length === 0) return; // a retained message was cleared
    // Asked again when they are kept: a thread that was started meanwhile has read what was kept before.
    for (let trust = await publish(path, payload); trust.kind !== 'known';) {
      if (trust.kind === 'refused') {
        countRejected(measures, trust.reason);
        const detail = trust.detail.slice(0, detailLengthMax);
        log.warn({ device: path, reason: trust.reason, detail }, 'certificates.refused');
        return;
      }
      onTrusted();
      log.info({ device: path }, 'certificates.taken');
      await keepCertificates(database, path, publishedChains(decodeDeviceCertificates(payload)), clock());
      trust = await publish(path, payload);
      if (trust.kind === 'known') await this.retry(path);
    }
    log.debug({ device: path }, 'certificates.known');
  }
}
