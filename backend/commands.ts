/** The command service: seals a command for its device, sends it until the broker has it, and watches the clock. */
import { randomUUID } from 'node:crypto';
import { CmsError } from '../cms/errors.ts';
import { requireUnrevoked } from '../cms/in-force.ts';
import type { Originator } from '../cms/originator.ts';
import { createSealer } from '../cms/seal.ts';
import type { SealedEnvelope, Sealer } from '../cms/seal.ts';
import { addCommand, expireCommands, noteDelivered, readUndelivered } from '../database/commands.ts';
import type { Database } from '../database/connect.ts';
import type { Clock } from '../domain/clock.ts';
import { encodeCommand } from '../domain/command.ts';
import type { CommandName } from '../domain/command.ts';
import { isWithin } from '../domain/namespace.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { deviceTopic } from '../domain/topic.ts';
import { LinkError } from '../mqtt/link-error.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { E2eIdentity } from '../pki/identity.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Log } from '../runtime/log.ts';
import type { Feed } from './feed.ts';
import { countRejected } from './measures.ts';
import type { BackendMeasures } from './measures.ts';

export type CommandServiceErrorCode =
  | 'command.unknown_device' // it has published no certificate to seal for
  | 'command.revoked_device' // its certificate is revoked, or nobody knows whether it is
  | 'command.unsealable'; // its key is on another curve than ours

export class CommandServiceError extends Error {
  override readonly name = 'CommandServiceError';
  readonly code: CommandServiceErrorCode;
  constructor(code: CommandServiceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What the service needs of a link. */
export interface CommandLink {
  publish(topic: string, payload: Uint8Array, options: { readonly qos: 1 }): Promise<void>;
}

export interface CommandServiceOptions {
  readonly identity: E2eIdentity;
  /** The certificates that a device published last. */
  readonly newestOf: (path: NamespacePath) => Promise<Originator | undefined>;
  readonly lists: RevocationLists;
  readonly database: Database;
  readonly link: CommandLink;
  /** ENC certificates of auditors; each reads what goes to devices of its own subtree. */
  readonly readers: readonly VerifiedIdentity[];
  readonly expirySeconds: number;
  readonly measures: BackendMeasures;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly log: Log;
}

export class CommandService {
  readonly #options: CommandServiceOptions;
  readonly #sealer: Sealer;

  constructor(options: CommandServiceOptions) {
    this.#options = options;
    const { signature, keyAgreement } = options.identity;
    this.#sealer = createSealer({ signature, keyAgreement });
  }

  /**
   * @param issuedBy - the name of a user
   * @returns the command's id, once it is kept; sending goes on by itself
   * @throws CommandServiceError
   */
  async send(path: NamespacePath, name: CommandName, issuedBy: string): Promise<string> {
    const { database, newestOf, expirySeconds, clock, measures, feed, log } = this.#options;
    const device = this.#unrevoked(path, await newestOf(path));
    const id = randomUUID();
    const issuedMs = clock();
    const command = { id, name, parameters: {}, issuedMs, expiresMs: issuedMs + expirySeconds * 1000 };
    const content = encodeCommand({
      id,
      name,
      issuedAtMs: issuedMs,
      expiresAtMs: command.expiresMs,
      parameters: command.parameters,
    });
    let sealed: SealedEnvelope | undefined;
    await addCommand(database, { ...command, path, issuedBy }, (place) => {
      sealed = this.#seal(path, content, device, { ...place, signingTimeMs: issuedMs });
      return sealed;
    });
    measures.commands.inc({ state: 'sent' });
    log.info({ device: path, command: id, name, issuedBy }, 'command.sent');
    feed.changed('commands');
    if (sealed !== undefined) void this.#publish(id, path, sealed.envelope);
    return id;
  }

  /** Publishes what the broker had not acknowledged when the program ended. */
  async resume(): Promise<void> {
    for (const { id, path, envelope } of await readUndelivered(this.#options.database)) {
      void this.#publish(id, path as NamespacePath, envelope);
    }
  }

  /** Marks what was not answered in time; to be called now and then. */
  async expire(): Promise<void> {
    const { database, measures, feed, clock } = this.#options;
    const expired = await expireCommands(database, clock());
    if (expired === 0) return;
    measures.commands.inc({ state: 'expired' }, expired);
    feed.changed('commands');
  }

  #unrevoked(path: NamespacePath, device: Originator | undefined): Certificate {
    if (device === undefined) {
      throw new CommandServiceError('command.unknown_device', `${path} has published no certificate`);
    }
    try {
      requireUnrevoked(device, this.#options.clock(), this.#options.lists);
    } catch (cause) {
      if (!(cause instanceof PkiError)) throw cause;
      throw new CommandServiceError('command.revoked_device', `cannot seal for ${path}: ${cause.message}`, {
        cause,
      });
    }
    return device.keyAgreement;
  }

  /** Those in whose subtree the device is. Who is revoked reads nothing any more, and that is said. */
  #readersOf(path: NamespacePath, device: Certificate): Certificate[] {
    const { readers, lists, measures, clock, log } = this.#options;
    return readers.flatMap((reader) => {
      const { certificate, commonName } = reader;
      if (!isWithin(path, commonName) || certificate.curve !== device.curve) return [];
      try {
        lists.requireUnrevoked(reader, clock());
        return [certificate];
      } catch (error) {
        if (!(error instanceof PkiError)) throw error;
        countRejected(measures, error.code);
        log.error({ recipient: commonName, reason: error.code, detail: error.message }, 'recipient.left_out');
        return [];
      }
    });
  }

  #seal(
    path: NamespacePath,
    content: Uint8Array,
    device: Certificate,
    place: {
      readonly sequence: number;
      readonly previousDigest: Uint8Array | undefined;
      readonly signingTimeMs: number;
    },
  ): SealedEnvelope {
    const readers = this.#readersOf(path, device);
    try {
      return this.#sealer.seal(content, [device, ...readers], {
        topic: deviceTopic(path, 'commands'),
        contentType: 'command+cbor',
        ...place,
      });
    } catch (cause) {
      if (!(cause instanceof CmsError)) throw cause;
      throw new CommandServiceError('command.unsealable', `cannot seal for ${path}: ${cause.message}`, {
        cause,
      });
    }
  }

  async #publish(id: string, path: NamespacePath, envelope: Uint8Array): Promise<void> {
    const { link, database, measures, feed, clock, log } = this.#options;
    try {
      await link.publish(deviceTopic(path, 'commands'), envelope, { qos: 1 });
      await noteDelivered(database, id, clock());
      measures.commands.inc({ state: 'delivered' });
      feed.changed('commands');
    } catch (error) {
      // It is kept as `sent`, so the next start publishes it again.
      if (!(error instanceof LinkError && error.code === 'mqtt.closed')) {
        log.error({ command: id, error: String(error) }, 'command.not_delivered');
      }
    }
  }
}
