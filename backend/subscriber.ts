/** The backend's persistent session on the broker: what comes is acknowledged when it is committed. */
import { keepCertificates } from '../database/certificates.ts';
import type { Database } from '../database/connect.ts';
import { readLettersFor, removeDeadLetters } from '../database/dead-letters.ts';
import { noteStatus } from '../database/fleet.ts';
import type { Clock } from '../domain/clock.ts';
import { DeviceCertificatesError } from '../domain/device-certificates.ts';
import { parseDeviceStatus } from '../domain/device-status.ts';
import { parseDeviceTopic } from '../domain/topic.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import { PkiError } from '../pki/errors.ts';
import type { Log } from '../runtime/log.ts';
import { unknownOriginator } from './decryptor.ts';
import type { DeviceDirectory } from './directory.ts';
import type { Ingest } from './ingest.ts';
import { countRejected } from './measures.ts';
import type { BackendMeasures } from './measures.ts';

export interface SubscriberOptions {
  readonly database: Database;
  readonly directory: DeviceDirectory;
  readonly ingest: () => Ingest;
  readonly measures: BackendMeasures;
  readonly clock: Clock;
  readonly log: Log;
}

export const snapshotSubscriptions = [
  { filter: '+/+/+/snapshots', qos: 1 },
  { filter: '+/+/+/status', qos: 1 },
  { filter: '+/+/+/certificates', qos: 1 },
] as const;

export const commandSubscriptions = [
  { filter: '+/+/+/commands/result', qos: 1 },
  { filter: '+/+/+/certificates', qos: 1 },
] as const;

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
    const place = parseDeviceTopic(message.topic);
    if (place?.name === 'status') {
      this.#settle(this.#takeStatus(place.device, message.payload), acknowledge);
    } else if (place?.name === 'certificates') {
      this.#settle(this.#takeCertificates(place.device, message.payload), acknowledge);
    } else {
      const { topic, payload } = message;
      this.#options.ingest().offer({ topic, payload, receivedMs: this.#options.clock(), acknowledge });
    }
  }

  /** Offers again what was put aside while a device's certificates were not here. */
  async retry(path: string): Promise<void> {
    const { database, directory, ingest } = this.#options;
    if (!directory.has(path) || this.#retrying.has(path)) return;
    this.#retrying.add(path);
    try {
      for (const letter of await readLettersFor(database, path, unknownOriginator)) {
        const { id, topic, payload, receivedMs } = letter;
        ingest().offer({
          topic,
          payload: Buffer.from(payload),
          receivedMs,
          isRetry: true,
          acknowledge: () => this.#settle(removeDeadLetters(database, [id]), () => undefined),
        });
      }
    } finally {
      this.#retrying.delete(path);
    }
  }

  #settle(work: Promise<void>, done: () => void): void {
    work.then(done, (error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'message.not_stored');
    });
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

  async #takeCertificates(path: string, payload: Buffer): Promise<void> {
    const { database, directory, measures, clock, log } = this.#options;
    if (payload.length === 0) return; // a retained message was cleared
    try {
      const published = directory.publish(path, payload, clock());
      if (published === undefined) return;
      log.info({ device: path }, 'certificates.taken');
      await keepCertificates(database, path, published, clock());
    } catch (error) {
      if (!(error instanceof PkiError || error instanceof DeviceCertificatesError)) throw error;
      countRejected(measures, error.code);
      log.warn(
        { device: path, reason: error.code, detail: error.message.slice(0, detailLengthMax) },
        'certificates.refused',
      );
      return;
    }
    await this.retry(path);
  }
}
