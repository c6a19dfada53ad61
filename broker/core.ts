/** One life of the broker's state: from opening the store until it is closed or fails. */
import type { Clock } from '../domain/clock.ts';
import { requireUnrevoked } from '../pki/path.ts';
import type { RevocationIndex } from '../pki/revocation.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { packageVersion } from '../runtime/version.ts';
import type { Asides } from './cascade/asides.ts';
import { Cascade } from './cascade/cascade.ts';
import type { CascadeState } from './cascade/cascade-state.ts';
import { Connection } from './connection/connection.ts';
import type { ConnectionContext } from './connection/connection.ts';
import type { Transport } from './connection/transport.ts';
import { closeRevoked, watchCrls } from './access/crl-watch.ts';
import { BrokerError } from './errors.ts';
import type { Leadership } from './nodes/led.ts';
import { Hub } from './routing/hub.ts';
import type { Peer, PeerVerifier } from './access/identity.ts';
import type { Measures } from './measures.ts';
import { Sessions } from './routing/sessions.ts';
import type { LiveSettings } from './settings.ts';
import type { StoreRoom } from './store/room.ts';
import { Store } from './store/store.ts';
import { PublishRates } from './quota/publish-rates.ts';
import { Holdings } from './quota/shares.ts';
import { declareCascadeTopics, declareSystemTopics } from './system-topics.ts';
import type { SystemTopics } from './system-topics.ts';
import { Turn } from './store/turn.ts';
import { Wills } from './routing/wills.ts';

export interface CoreOptions {
  readonly settings: LiveSettings;
  readonly verifier: PeerVerifier;
  readonly revocation: RevocationIndex;
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: Clock;
  readonly monotonicMs: () => number;
  readonly reconnect: BackoffLimits | undefined;
  readonly room: StoreRoom;
  /** Of the node that is active among several; undefined on one that is alone. */
  readonly leadership?: Leadership | undefined;
  /** The store failed: every connection is closed already, and this core is of no use any more. */
  readonly onFailure: (error: BrokerError) => void;
}

export interface CoreState {
  readonly connections: number;
  readonly sessions: number;
  readonly retained: number;
  readonly queued: number;
  readonly queuedBytes: number;
  readonly cascade: CascadeState | undefined;
}

export class Core {
  readonly #options: CoreOptions;
  readonly #turn: Turn;
  readonly #store: Store;
  readonly #sessions: Sessions;
  readonly #hub: Hub;
  readonly #wills: Wills;
  readonly #context: ConnectionContext;
  #cascade: Cascade | undefined;
  #cascadeReopening: Promise<void> | undefined;
  readonly #connections = new Set<Connection>();
  readonly #heldConnections = new Holdings();
  readonly #rates: PublishRates;
  readonly #systemTopics: SystemTopics;
  #isHeld = false;
  #isOver = false;

  /** @throws BrokerError if the store cannot be opened */
  constructor(options: CoreOptions) {
    this.#options = options;
    const { settings, verifier, measures, log, clock } = options;
    const { config } = settings;
    const { limits } = config;
    const { leadership } = options;
    this.#turn = new Turn((error) => this.#fail(error), leadership?.confirm);
    this.#store = new Store({
      directory: config.data,
      durability: config.durability,
      locking: leadership === undefined ? 'exclusive' : 'shared',
      journal: leadership?.journal,
      bytesMax: limits.storeBytesMax,
      room: options.room,
      onFirstWrite: () => this.#turn.schedule(),
    });
    this.#turn.begin(this.#store);
    const store = this.#store;
    try {
      const { recoveredPages, discardedPages } = store.recovery;
      if (discardedPages > 0) log.warn({ recoveredPages, discardedPages }, 'store.torn_write_discarded');
      else if (recoveredPages > 0) log.info({ recoveredPages }, 'store.recovered');
      this.#sessions = new Sessions({
        store,
        get roles() {
          return settings.roles;
        },
        limits,
        measures,
        log,
        clock,
        get cascadeQueue() {
          return config.cascade?.queue;
        },
        get queueFull() {
          return config.queueFull;
        },
      });
      for (const expected of config.expectedSessions) this.#sessions.expect(expected);
      this.#hub = new Hub({
        store,
        sessions: this.#sessions,
        limits,
        get queueFull() {
          return config.queueFull;
        },
        measures,
        clock,
        later: (work) => void setImmediate(() => this.#turn.guard(work)),
      });
      this.#cascade = this.#openCascade();
      watchCrls({
        ...this.#revocable(),
        directory: settings.config.data,
        hub: this.#hub,
        index: options.revocation,
        roots: () => settings.identity.roots,
      });
      // After the lists, for a will of a revoked certificate is not published.
      this.#wills = new Wills({
        store,
        sessions: this.#sessions,
        hub: this.#hub,
        get roles() {
          return settings.roles;
        },
        verifier,
        measures,
        log,
        clock,
      });
      this.#rates = new PublishRates(limits, options.monotonicMs);
      this.#context = this.#connectionContext();
      this.#systemTopics = declareSystemTopics({
        hub: this.#hub,
        sessions: () => this.#sessions.all(),
        measures,
        room: options.room,
        name: config.name,
        version: packageVersion(),
        startedMs: options.monotonicMs(),
        monotonicMs: options.monotonicMs,
      });
    } catch (error) {
      // Half built, it must neither commit what it began nor keep the file from the next one.
      this.#isOver = true;
      if (error instanceof BrokerError) this.#turn.fail(error);
      store.abandon();
      throw error;
    }
  }

  get state(): CoreState {
    let queued = 0;
    let queuedBytes = 0;
    for (const { queue } of this.#sessions.all()) {
      queued += queue.messages;
      queuedBytes += queue.bytes;
    }
    let cascade: CascadeState | undefined;
    this.#turn.guard(() => (cascade = this.#cascade?.state)); // it asks the store since when the oldest waits
    return {
      connections: this.#connections.size,
      sessions: this.#sessions.size,
      retained: this.#hub.retainedCount,
      queued,
      queuedBytes,
      cascade,
    };
  }

  /** What the upstream would not take; undefined without an upstream. */
  get asides(): Asides | undefined {
    return this.#cascade?.asides;
  }

  /** Serves a connection whose certificate was verified. */
  admit(transport: Transport, peer: Peer): void {
    const { traffic } = this.#options.measures;
    this.#connections.add(new Connection(transport, peer, this.#context));
    traffic.connections++;
    traffic.connectedMax = Math.max(traffic.connectedMax, this.#connections.size);
  }

  /**
   * The settings were replaced: what followed from the old ones is worked out anew, and what they granted and the new
   * ones do not ends now.
   */
  settingsChanged({ isCascadeChanged }: { readonly isCascadeChanged: boolean }): void {
    const { identity, config } = this.#options.settings;
    const roots = new Set(identity.roots.map(({ sha256 }) => sha256.toString('hex')));
    this.#turn.guard(() => {
      this.#sessions.rightsChanged();
      for (const expected of config.expectedSessions) this.#sessions.expect(expected);
      for (const connection of this.#connections) {
        if (!roots.has(connection.peer.verified.root.sha256.toString('hex')))
          connection.close('pki.untrusted');
      }
      closeRevoked(this.#revocable());
    });
    if (isCascadeChanged) this.#cascadeReopening = this.#reopenCascade(this.#cascadeReopening);
  }

  /** Every second: closes whoever was silent too long or whose certificate has expired, and ends what was to end by now. */
  sweep(): void {
    const nowMs = this.#options.clock();
    const monotonicMs = this.#options.monotonicMs();
    this.#turn.guard(() => {
      this.#options.room.look();
      this.#cascade?.sweep();
      this.#sessions.expire();
      this.#wills.sweep();
      for (const connection of this.#connections) {
        if (!this.#isHeld && connection.isSilent(monotonicMs)) {
          connection.close(connection.hasSession ? 'keep_alive_timeout' : 'connect_timeout');
        } else if (nowMs > connection.peer.validUntilMs) {
          connection.close('certificate_expired');
        }
      }
    });
  }

  publishSystemTopics(): void {
    this.#systemTopics.update();
    this.#turn.guard(() => this.#hub.publishSystemTopics());
  }

  /** What needs no haste: messages that nobody wants any more, and lists that grew stale. */
  tidy(): void {
    this.#turn.guard(() => {
      this.#hub.dropExpired();
      this.#sessions.dropExpiredMessages();
      closeRevoked(this.#revocable());
    });
  }

  /** Reads nothing from anybody until `false`: it could not be answered for now. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    for (const connection of this.#connections) connection.hold(isHeld);
  }

  /** Closes everybody at once, with nothing more answered. */
  abandon(error: BrokerError): void {
    this.#turn.fail(error);
  }

  /**
   * Closes every connection after its last answer, the cascade after what is on its way was acknowledged or took too
   * long, and the store after its last commit.
   */
  async stop(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#turn.guard(() => {
      for (const connection of this.#connections) connection.close('broker_stopping');
    });
    await this.#turn.finish();
    await this.#cascadeReopening;
    await this.#cascade?.drain(this.#options.settings.config.shutdown.cascadeSeconds * 1000);
    await this.#cascade?.stop();
    await this.#turn.finish();
    try {
      this.#store.close();
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      // The answers of this last turn were not sent either, so nobody believes in what is lost.
      this.#options.log.error({ reason: error.code, detail: error.message }, 'store.failed');
      this.#store.abandon();
    }
  }

  #openCascade(): Cascade | undefined {
    const { settings, revocation, measures, log, clock, monotonicMs, reconnect } = this.#options;
    const { config, cascade } = settings;
    if (config.cascade === undefined || cascade === undefined) return undefined;
    declareCascadeTopics(this.#hub, () => this.#cascade?.state);
    return new Cascade({
      ...config.cascade,
      ...cascade,
      name: config.name,
      hub: this.#hub,
      sessions: this.#sessions,
      turn: this.#turn,
      measures,
      log: log.child({ part: 'cascade' }),
      // A list that is too old does not count against the upstream: the newer one comes from there.
      requireUnrevoked: (upstream) =>
        void requireUnrevoked(upstream, revocation, clock(), { action: 'warn' }),
      clock,
      monotonicMs,
      ...(reconnect === undefined ? {} : { reconnect }),
    });
  }

  /** What arrives in between waits in the queue; two links with one client id would end each other. */
  async #reopenCascade(earlier: Promise<void> | undefined): Promise<void> {
    await earlier;
    await this.#cascade?.drain(this.#options.settings.config.shutdown.cascadeSeconds * 1000);
    await this.#cascade?.stop();
    if (this.#isOver) return;
    this.#turn.guard(() => {
      this.#cascade = this.#openCascade();
    });
  }

  #connectionContext(): ConnectionContext {
    const { settings, measures, log, clock, monotonicMs } = this.#options;
    const { config } = settings;
    return {
      store: this.#store,
      turn: this.#turn,
      sessions: this.#sessions,
      hub: this.#hub,
      wills: this.#wills,
      get roles() {
        return settings.roles;
      },
      limits: config.limits,
      get deniedPublish() {
        return config.deniedPublish;
      },
      measures,
      log,
      clock,
      monotonicMs,
      get serverReference() {
        return config.shutdown.serverReference;
      },
      heldConnections: this.#heldConnections,
      rates: this.#rates,
      onClosed: (connection) => this.#connections.delete(connection),
    };
  }

  #revocable(): Parameters<typeof closeRevoked>[0] {
    return { verifier: this.#options.verifier, connections: this.#connections, log: this.#options.log };
  }

  #fail(error: BrokerError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const reason = error.code === 'broker.cluster_fenced' ? 'not_active_any_more' : 'store_failed';
    for (const connection of this.#connections) connection.abort(reason);
    this.#store.abandon();
    void this.#cascade?.stop();
    this.#options.onFailure(error);
  }
}
