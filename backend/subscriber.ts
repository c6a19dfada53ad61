/** The backend's persistent session on the broker: what comes is acknowledged when it is committed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { noteBroker } from '../database/brokers.ts';
import { keepCertificates } from '../database/certificates.ts';
import type { Database } from '../database/connect.ts';
import { readLettersFor, readWaitingPaths, removeDeadLetters } from '../database/dead-letters.ts';
import { faultOf } from '../database/errors.ts';
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
import { backoffMs } from '../runtime/retry.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
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
const retry: BackoffLimits = { firstMs: 200, maxMs: 10_000 };
/** For what is not the database's absence. */
const attemptsMax = 4;

export class Subscriber {
  readonly #options: SubscriberOptions;
  /** Devices whose put-aside envelopes are being offered again. */
  readonly #retrying = new Set<string>();
  /** Of those, for which more was put aside meanwhile. */
  readonly #retryAgain = new Set<string>();

  /** By topic, what follows when everything that came by it is stored; as many as are unacknowledged at most. */
  readonly #working = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(options: SubscriberOptions) {
    this.#options = options;
  }

  /** What is not stored yet stays unacknowledged, and comes again at the next start. */
  stop(): void {
    this.#stopping.abort();
  }

  /**
   * Handles one message of either link. While the database is away it is tried again; what fails for another reason five
   * times is left unacknowledged, and comes again with the next connection.
   */
  receive(message: ReceivedMessage, acknowledge: () => void): void {
    if (message.topic === e2eCrlTopic) {
      this.#settle(message.topic, this.#lists(message.payload), acknowledge);
      return;
    }
    const broker = parseBrokerStatusTopic(message.topic);
    const brokerStatus = broker && parseBrokerStatus(message.payload);
    if (broker !== undefined && brokerStatus !== undefined) {
      this.#settle(message.topic, () => this.#takeBrokerStatus(broker, brokerStatus), acknowledge);
      return;
    }
    const place = parseDeviceTopic(message.topic);
    if (broker !== undefined && place === undefined) {
      // A retained status was cleared, or it is of a version that we do not know.
      if (message.payload.length > 0) countRejected(this.#options.measures, 'malformed_status');
      acknowledge();
    } else if (place?.name === 'status') {
      this.#settle(message.topic, () => this.#takeStatus(place.device, message.payload), acknowledge);
    } else if (place?.name === 'certificates') {
      this.#settle(message.topic, this.#certificates(place.device, message.payload), acknowledge);
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
    if (this.#retrying.has(path)) {
      this.#retryAgain.add(path);
      return;
    }
    this.#retrying.add(path);
    try {
      do {
        this.#retryAgain.delete(path);
        await this.#offerWaiting(path);
      } while (this.#retryAgain.has(path));
    } finally {
      this.#retrying.delete(path);
      this.#retryAgain.delete(path);
    }
  }

  async #offerWaiting(path: string): Promise<void> {
    const { database, ingest } = this.#options;
    for (const { id, topic, payload, receivedMs, reason } of await this.#waitingLetters(path)) {
      ingest().offer({
        topic,
        payload: Buffer.from(payload),
        receivedMs,
        putAsideFor: reason,
        acknowledge: () =>
          this.#settle(
            topic,
            () => removeDeadLetters(database, [id]),
            () => undefined,
          ),
      });
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

  /** Those of one topic in their order: of two statuses the later one is to stay. What need not wait begins at once. */
  #settle(topic: string, work: () => Promise<void>, done: () => void): void {
    const before = this.#working.get(topic);
    const attempt = (): Promise<boolean> => this.#untilStored(topic, work);
    const now = (before === undefined ? attempt() : before.then(attempt)).then((isStored) => {
      if (this.#working.get(topic) === now) this.#working.delete(topic);
      if (isStored) done();
    });
    this.#working.set(topic, now);
  }

  /** Tries while the database is away. @returns false if the program stops, or if waiting is not the answer */
  async #untilStored(topic: string, work: () => Promise<void>): Promise<boolean> {
    const { measures, log } = this.#options;
    for (let attempt = 0; !this.#stopping.signal.aborted; attempt++) {
      try {
        await work();
        return true;
      } catch (error) {
        const fault = faultOf(error);
        measures.storeFailures.inc({ reason: fault ?? 'failing' });
        if (fault === undefined && attempt === attemptsMax) {
          log.error({ topic, error: String(error) }, 'message.not_stored');
          return false;
        }
        if (attempt === 0) log.warn({ topic, error: String(error) }, 'message.waits');
        await this.#pause(backoffMs(attempt, retry));
      }
    }
    return false;
  }

  async #pause(ms: number): Promise<void> {
    try {
      await sleep(ms, undefined, { signal: this.#stopping.signal });
    } catch {
      // The program stops.
    }
  }

  /** @returns the work, which may have to be done more than once */
  #lists(payload: Buffer): () => Promise<void> {
    let isNews: boolean | undefined;
    return async () => {
      isNews ??= this.#options.lists.take(payload);
      if (!isNews) return;
      this.#options.onLists();
      await this.#retryWaiting(staleLists);
    };
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

  /**
   * Hands them to their thread at once, in their turn among the envelopes of the device.
   *
   * @returns the rest of the work, which may have to be done more than once: what a thread knows by then may still have to be
   *   kept
   */
  #certificates(path: string, payload: Buffer): () => Promise<void> {
    const { database, measures, publish, onTrusted, clock, log } = this.#options;
    if (payload.length === 0) return () => Promise.resolve(); // a retained message was cleared
    let answer = publish(path, payload);
    let isNews = false;
    let isKept = false;
    return async () => {
      for (; ; answer = publish(path, payload)) {
        const trust = await answer;
        if (trust.kind === 'refused') {
          countRejected(measures, trust.reason);
          const detail = trust.detail.slice(0, detailLengthMax);
          log.warn({ device: path, reason: trust.reason, detail }, 'certificates.refused');
          return;
        }
        // Asked again when they are kept: a thread that was started meanwhile has read what was kept before.
        if (trust.kind === 'known' && isKept === isNews) break;
        isNews = true;
        onTrusted();
        log.info({ device: path }, 'certificates.taken');
        await keepCertificates(database, path, publishedChains(decodeDeviceCertificates(payload)), clock());
        isKept = true;
      }
      if (isNews) await this.retry(path);
      log.debug({ device: path }, 'certificates.known');
    };
  }
}
