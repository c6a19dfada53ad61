/** What a device does under one identity: seals, sends, and obeys. Another identity is another service. */
import { CmsError } from '../cms/errors.ts';
import type { Opener } from '../cms/open.ts';
import { createOpener } from '../cms/open.ts';
import type { Originators } from '../cms/originator.ts';
import { originatorsOf } from '../cms/originator.ts';
import type { PolicyStatus } from '../domain/device-status.ts';
import { isServiceName, isWithin } from '../domain/namespace.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { Snapshot } from '../domain/snapshot.ts';
import type { E2eIdentity } from '../pki/identity.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import type { Log } from '../runtime/log.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import { loadCommandIssuers } from '../policy/command-issuers.ts';
import { CommandHandler } from './commands.ts';
import type { DeviceContext } from './device.ts';
import { DeviceSealer } from './device-sealer.ts';
import type { HeldIdentity } from './key-slots/held-identity.ts';
import type { Place as KeysPlace } from './key-slots/place.ts';
import { Publisher } from './publisher.ts';
import { Readers } from './readers.ts';
import { Sharing } from './sharing.ts';
import { groupOf } from './stream.ts';
import type { Part } from './stream.ts';
import { loadRecipients } from './trust.ts';

/**
 * One or two connections are enough to hear of new revocation lists for all devices. Who retires has things to deliver, and
 * does nothing else.
 */
export type DeviceRole = 'list-reader' | 'ordinary' | 'retiring';

export interface ServiceOptions {
  readonly identity: HeldIdentity;
  /** By which something that waits may have been sealed, or a command that comes may be sealed for. */
  readonly others: readonly E2eIdentity[];
  readonly role: DeviceRole;
  readonly context: DeviceContext;
  readonly onEnrolmentMessage: (payload: Buffer) => void;
  readonly onDelivered: (stream: string, sequence: number) => void;
}

export class Service {
  readonly path: NamespacePath;
  readonly #options: ServiceOptions;
  readonly #log: Log;
  readonly #sealer: DeviceSealer;
  #identity: HeldIdentity;
  readonly #onCommand: ((message: ReceivedMessage, acknowledge: () => void) => void) | undefined;
  #publisher: Publisher | undefined;
  /** Which policies it obeys, and since which numbers. */
  #obeyed: Required<Pick<PolicyStatus, 'numbers' | 'since'>>;

  /** @throws PkiError if a recipient or a command issuer cannot be trusted */
  constructor(options: ServiceOptions) {
    const { identity, others, context } = options;
    const { path, e2e } = identity;
    const { config, outbox, lists, policies, measures, clock } = context;
    const log = context.log.child({ device: path });
    this.path = path;
    this.#options = options;
    this.#identity = identity;
    this.#log = log;
    const { certificate } = e2e.keyAgreement;
    const recipients = ownReaders(
      loadRecipients(config.recipients, certificate, e2e.roots, clock()),
      identity,
      log,
    );
    const whenRevoked = config.whenRecipientRevoked;
    const sharing = new Sharing({
      device: path,
      own: certificate,
      recipients,
      roots: e2e.roots,
      policies,
      rules: config.policy,
      readers: new Readers({ lists, whenRevoked, measures, clock, log }),
      outbox,
      measures,
      clock,
    });
    this.#sealer = new DeviceSealer(identity, sharing, clock);
    const issuers = loadCommandIssuers(config.commandIssuers, e2e.roots, clock());
    const opener = openerOf([e2e, ...others], originatorsOf(issuers));
    this.#obeyed = this.#obeyedNow();
    const sealer = this.#sealer;
    const handler = new CommandHandler({ device: path, opener, sealer, lists, outbox, measures, clock, log });
    this.#onCommand =
      issuers.length === 0 || options.role === 'retiring'
        ? undefined
        : (message, acknowledge) => void handler.handle(message, acknowledge);
  }

  get identity(): HeldIdentity {
    return this.#identity;
  }

  get connected(): boolean {
    return this.#publisher?.connected === true;
  }

  /** It has come to its place for good. */
  settle(place: KeysPlace): void {
    this.#identity = { ...this.#identity, place };
  }

  /** Connects, and goes on trying to. */
  open(): void {
    if (this.#publisher !== undefined) return;
    const { identity, others, role, context, onEnrolmentMessage, onDelivered } = this.#options;
    const { config, outbox, lists, brokerLists, policies, agentVersion, reconnect } = context;
    const { tls, e2e } = identity;
    this.#publisher = new Publisher({
      device: this.path,
      ...brokerOf(identity, config),
      tls,
      e2e,
      others,
      outbox,
      agentVersion,
      ...(this.#onCommand === undefined ? {} : { onCommand: this.#onCommand }),
      brokerLists,
      ...(role === 'list-reader'
        ? { onLists: (payload: Buffer) => void (lists.take(payload) && policies.retry()) }
        : {}),
      ...(role === 'retiring'
        ? {}
        : { onEnrolmentMessage, onPolicy: (payload: Buffer) => void policies.take(this.path, payload) }),
      policyStatus: () => this.policyStatus(),
      onDelivered,
      log: this.#log,
      ...(reconnect === undefined ? {} : { reconnect }),
    });
  }

  /** @throws as `DeviceSealer.partsOf` */
  partsOf(snapshot: Snapshot): readonly Part[] {
    return this.#sealer.partsOf(snapshot);
  }

  policyStatus(): PolicyStatus {
    const { policies } = this.#options.context;
    const refused = policies.faultOf(this.path);
    return { ...this.#obeyed, ...(refused === undefined ? {} : { refused }) };
  }

  /** Other policies hold, or one was refused. */
  policyChanged(): void {
    const now = this.#obeyedNow();
    if (JSON.stringify(now.numbers) !== JSON.stringify(this.#obeyed.numbers)) this.#obeyed = now;
    this.#publisher?.sayStatus();
  }

  /** What is sealed is numbered at once, so whatever has a number already was sealed before this. */
  #obeyedNow(): Required<Pick<PolicyStatus, 'numbers' | 'since'>> {
    const { policies, outbox } = this.#options.context;
    return {
      numbers: Object.fromEntries(policies.of(this.path).map(({ path, number }) => [path, number])),
      since: Object.fromEntries(
        outbox
          .streamsOf(this.path)
          .map((stream) => [groupOf(stream, this.path), outbox.counts(stream).sealed + 1]),
      ),
    };
  }

  /** There is something new in the outbox. */
  send(): void {
    this.#publisher?.send();
  }

  forgetOthers(): void {
    this.#publisher?.forgetOthers();
  }

  /** Goes without a word, for another service takes over. */
  async release(): Promise<void> {
    const publisher = this.#publisher;
    this.#publisher = undefined;
    await publisher?.release();
  }

  /** Says that the device goes, and goes. */
  async close(): Promise<void> {
    await this.#publisher?.close();
  }
}

/** Where the device connects: what it was told when it came to its place is newer than the configuration. */
export function brokerOf(
  { place }: Pick<HeldIdentity, 'place'>,
  { broker, brokerName }: Pick<DeviceContext['config'], 'broker' | 'brokerName'>,
): Pick<DeviceContext['config'], 'broker' | 'brokerName'> {
  return place?.broker === undefined
    ? { broker, brokerName }
    : { broker: place.broker, brokerName: place.broker.name };
}

/** The configuration of a device that changed hands may still name its former owner, who is to read nothing new. */
function ownReaders(
  recipients: VerifiedIdentity[],
  { path, place }: HeldIdentity,
  log: Log,
): VerifiedIdentity[] {
  if (place === undefined) return recipients;
  return recipients.filter(({ commonName }) => {
    const isOurs = isServiceName(commonName) || isWithin(path, commonName);
    if (!isOurs) log.warn({ recipient: commonName, from: place.from }, 'recipient.of_former_owner');
    return isOurs;
  });
}

/** Commands on their way may be sealed for the key that was published before. */
function openerOf(identities: readonly E2eIdentity[], originators: Originators): Opener {
  const openers = identities.map(({ keyAgreement }) =>
    createOpener({ recipient: keyAgreement, originators }),
  );
  return {
    open: (envelope, options) => {
      for (const [index, opener] of openers.entries()) {
        try {
          return opener.open(envelope, options);
        } catch (error) {
          const isForAnother = error instanceof CmsError && error.code === 'cms.not_a_recipient';
          if (!isForAnother || index === openers.length - 1) throw error;
        }
      }
      throw new TypeError('a device has an identity');
    },
  };
}
