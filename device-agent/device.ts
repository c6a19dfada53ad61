/** One device of the agent: its identity, its sealer, its connection and its numbers. */
import { createOpener } from '../cms/open.ts';
import { originatorsOf } from '../cms/originator.ts';
import type { Clock } from '../domain/clock.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { parseDevicePath } from '../domain/namespace.ts';
import type { Reading } from '../domain/snapshot.ts';
import { PkiError } from '../pki/errors.ts';
import type { E2eIdentity, TlsIdentity } from '../pki/identity.ts';
import { loadIdentity } from '../pki/identity.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import type { Sample } from './collector/collector.ts';
import { CommandHandler } from './commands.ts';
import type { AgentConfig, DeviceConfig } from './config.ts';
import { DeviceSealer } from './device-sealer.ts';
import type { AgentMeasures } from './measures.ts';
import type { Outbox } from './outbox.ts';
import { Publisher } from './publisher.ts';
import { Readers } from './readers.ts';
import { loadCommandIssuers, loadRecipients } from './trust.ts';

export interface DeviceIdentity {
  readonly path: NamespacePath;
  readonly config: DeviceConfig;
  readonly tls: TlsIdentity;
  readonly e2e: E2eIdentity;
}

export interface DeviceContext {
  readonly config: AgentConfig;
  readonly outbox: Outbox;
  readonly lists: RevocationLists;
  readonly measures: AgentMeasures;
  readonly agentVersion: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly reconnect: BackoffLimits | undefined;
  readonly onDelivered: () => void;
}

/** One or two connections are enough to hear of new revocation lists for all devices. */
export type DeviceRole = 'list-reader' | 'ordinary';

export interface DeviceState {
  readonly path: string;
  readonly sealed: number;
  readonly delivered: number;
  readonly dropped: number;
  readonly pending: number;
  readonly connected: boolean;
  readonly lastValue?: Reading;
  /** By reason. */
  readonly rejected: Readonly<Record<string, number>>;
  readonly state: 'online' | 'offline' | 'stopped';
}

/** @throws PkiError in one line, also if TLS and E2E certificates are of different identities, or of no device */
export function loadDeviceIdentity(config: DeviceConfig, nowMs: number): DeviceIdentity {
  const { passphraseFile } = config;
  const { commonName, tls, e2e } = loadIdentity(config.identity, { nowMs, passphraseFile });
  const path = parseDevicePath(commonName);
  if (path === undefined) {
    throw new PkiError('pki.path_discipline', `${config.identity}: ${commonName} is not a device`);
  }
  return { path, config, tls, e2e };
}

export class Device {
  readonly path: NamespacePath;
  readonly #outbox: Outbox;
  readonly #measures: AgentMeasures;
  readonly #sealer: DeviceSealer;
  readonly #publisher: Publisher;
  readonly #rejected = new Map<string, number>();
  #lastValue: Reading | undefined;
  #stopped = false;

  /** @throws PkiError if a recipient or a command issuer cannot be trusted */
  constructor({ path, tls, e2e }: DeviceIdentity, context: DeviceContext, role: DeviceRole) {
    const { config, outbox, lists, measures, clock, reconnect } = context;
    const { certificate } = e2e.keyAgreement;
    const log = context.log.child({ device: path });
    this.path = path;
    this.#outbox = outbox;
    this.#measures = measures;
    const recipients = loadRecipients(config.recipients, certificate, e2e.roots, clock());
    const whenRevoked = config.whenRecipientRevoked;
    const readers = new Readers({ recipients, lists, whenRevoked, measures, clock, log });
    this.#sealer = new DeviceSealer(path, e2e, readers, clock);
    const issuers = loadCommandIssuers(config.commandIssuers, e2e.roots, clock());
    const opener = createOpener({ recipient: e2e.keyAgreement, originators: originatorsOf(issuers) });
    const handler = new CommandHandler({
      device: path,
      opener,
      sealer: this.#sealer,
      lists,
      outbox,
      measures,
      clock,
      log,
    });
    this.#publisher = new Publisher({
      device: path,
      broker: config.broker,
      brokerName: config.brokerName,
      tls,
      e2e,
      outbox,
      agentVersion: context.agentVersion,
      ...(issuers.length === 0
        ? {}
        : { onCommand: (message, acknowledge) => void handler.handle(message, acknowledge) }),
      ...(role === 'list-reader' ? { onLists: (payload: Buffer) => lists.take(payload) } : {}),
      onDelivered: () => {
        measures.delivered.inc();
        context.onDelivered();
      },
      log,
      ...(reconnect === undefined ? {} : { reconnect }),
    });
  }

  get connected(): boolean {
    return this.#publisher.connected;
  }

  /** Seals a sample and stores it. @throws OutboxError, CmsError, ReadersError */
  async put({ snapshot, line }: Sample, source: string | undefined): Promise<void> {
    const position = source === undefined || line === undefined ? undefined : { source, line };
    await this.#outbox.put(this.path, (place) => this.#sealer.sealSnapshot(snapshot, place), position);
    this.#measures.sealed.inc();
    this.#lastValue =
      snapshot.readings.find((reading) => typeof reading.value === 'number') ?? snapshot.readings[0];
  }

  reject(reason: string): void {
    this.#rejected.set(reason, (this.#rejected.get(reason) ?? 0) + 1);
  }

  /** There is something new in the outbox. */
  send(): void {
    this.#publisher.send();
  }

  state(): DeviceState {
    return {
      path: this.path,
      ...this.#outbox.counts(this.path),
      connected: this.connected,
      ...(this.#lastValue === undefined ? {} : { lastValue: this.#lastValue }),
      rejected: Object.fromEntries(this.#rejected),
      state: this.#onlineState(),
    };
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await this.#publisher.close();
  }

  #onlineState(): DeviceState['state'] {
    if (this.#stopped) return 'stopped';
    return this.connected ? 'online' : 'offline';
  }
}
