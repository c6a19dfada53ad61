/** The one MQTT client of every program: MQTT 5 or 3.1.1 over mutual TLS, which acknowledges when it is told to. */
import { envelopeBytesMax } from '../domain/limits.ts';
import { PkiError } from '../pki/errors.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import type { VerifiedPath } from '../pki/path.ts';
import type { Endpoint } from '../runtime/config.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { backoffMs } from '../runtime/retry.ts';
import { startErrorText } from '../runtime/shutdown.ts';
import type { LinkSubscription, Will } from './client-packets.ts';
import { Failover } from './failover.ts';
import { Inbox } from './inbox.ts';
import type { MessageHandler } from './inbox.ts';
import { LinkConnection } from './link-connection.ts';
import type { ConnectionEnd } from './link-connection.ts';
import { LinkError } from './link-error.ts';
import type { Outbound } from './outbound.ts';
import { outboundIdMax } from './outbound.ts';
import { PublishWindow } from './publish-window.ts';
import type { Qos } from './packets/qos.ts';
import { openSecureSocket } from './secure-socket.ts';
import type { Resumption, SecureSocket } from './secure-socket.ts';
import type { Connack, LinkVersion } from './server-packets.ts';
import { Subscriptions } from './subscriptions.ts';
import type { GrantedSubscription } from './subscriptions.ts';

export interface LinkOptions {
  /** Several in order of preference: the next one is taken while those before it are away. */
  readonly broker: Endpoint | readonly Endpoint[];
  /** The common name that the broker's certificate must carry, for example `vendor-broker` or `ms-acc-1`. */
  readonly brokerName: string | readonly string[];
  readonly identity: TlsIdentity;
  /**
   * Asked on every connect, and every second while one stands. Whoever has a broker's stolen key could otherwise take its
   * place, and acknowledge what is then gone, for as long as the certificate lives.
   *
   * @throws PkiError if that broker's certificate is revoked
   */
  readonly requireUnrevoked?: ((broker: VerifiedPath) => void) | undefined;
  readonly clientId: string;
  readonly cleanSession: boolean;
  readonly keepAliveSeconds?: number;
  readonly will?: Will;
  /** It is published when the link closes, too, not only when it is lost. */
  readonly isWillLeft?: boolean;
  /** How long the session outlives the connection, unless it is a clean one; forever unless given. MQTT 5. */
  readonly sessionExpirySeconds?: number;
  /** Messages that the broker may send before one of them is acknowledged; one of MQTT 3.1.1 is not told. */
  readonly receiveMaximum?: number;
  /** Unacknowledged publishes of `publish` on the wire. */
  readonly inFlightMax?: number;
  /** Whoever keeps its messages itself; what `publish` is given is kept in memory. */
  readonly outbound?: Outbound;
  /** Subscribed on every connect. */
  readonly subscriptions?: readonly LinkSubscription[];
  readonly onMessage?: MessageHandler;
  readonly onConnect?: (connected: Connected) => void;
  readonly onDisconnect?: (reason: string) => void;
  readonly onSubscribed?: (granted: readonly GrantedSubscription[]) => void;
  /** The broker does not take a message of `publish`; it is offered again later. */
  readonly onRefused?: (topic: string, reasonCode: number | undefined) => void;
  /** Runs a function once at the end of the current turn of the event loop; all that was written leaves then. */
  readonly schedule?: (flush: () => void) => void;
  readonly log: Log;
  readonly reconnect?: BackoffLimits;
  /** How often the preferred brokers are looked for while another is in use. */
  readonly probe?: BackoffLimits;
  readonly monotonicMs?: () => number;
}

export interface Connected {
  readonly broker: Endpoint;
  readonly version: LinkVersion;
  readonly sessionPresent: boolean;
  /** Whether the TLS session was resumed. */
  readonly isResumed: boolean;
}

export interface PublishOptions {
  readonly qos: 0 | 1;
  readonly retain?: boolean;
}

const defaults = {
  keepAliveSeconds: 30,
  inFlightMax: 512,
  reconnect: { firstMs: 200, maxMs: 10_000 },
  probe: { firstMs: 30_000, maxMs: 600_000 },
};
const connectTimeoutMs = 15_000;
const recheckMs = 1000;
const closeTimeoutMs = 2_000;
/** What the broker refused is offered again. */
const refusedRetryMs = { firstMs: 1_000, maxMs: 60_000 };
/** The session outlives the connection until the broker's own limit (MQTT 5 §3.1.2.11.2). */
const neverExpires = 0xffff_ffff;
/** A fixed header, a topic, properties and an envelope. */
const packetBytesMax = envelopeBytesMax + 4096;
/** CONNACK: the broker knows no MQTT 5, in the words of 3.1.1 and of 5 (§3.2.2.3; MQTT 5 §3.2.2.2). */
const unsupportedVersion = [0x01, 0x84];

/** Connects and stays connected until closed: every failure on the way is logged and tried again with back-off. */
export function openLink(options: LinkOptions): Link {
  return new Link(options);
}

export class Link {
  readonly #options: LinkOptions;
  readonly #brokers: readonly Endpoint[];
  readonly #resumptions: readonly Resumption[];
  readonly #failover: Failover;
  readonly #window: PublishWindow;
  /** Whatever sends over this link. */
  readonly #outbounds: readonly Outbound[];
  readonly #inbox: Inbox;
  readonly #subscriptions: Subscriptions;
  readonly #monotonicMs: () => number;
  #connection: LinkConnection | undefined;
  /** The broker at the other end of the connection. */
  #peer: VerifiedPath | undefined;
  readonly #recheckTimer: NodeJS.Timeout | undefined;
  #connected = false;
  #closed = false;
  #isHeld = false;
  #isReturning = false;
  #isDowngrading = false;
  /** MQTT 3.1.1 only for a broker that has just said that it knows no other. */
  #version: LinkVersion = 5;
  #connectTimer: NodeJS.Timeout | undefined;
  #probeTimer: NodeJS.Timeout | undefined;
  #refusedTimer: NodeJS.Timeout | undefined;
  #refusals = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#brokers = [options.broker].flat();
    this.#resumptions = this.#brokers.map(() => ({ session: undefined, chain: [] }));
    this.#failover = new Failover({
      brokers: this.#brokers.length,
      reconnect: options.reconnect ?? defaults.reconnect,
      probe: options.probe ?? defaults.probe,
    });
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#window = new PublishWindow(
      options.inFlightMax ?? defaults.inFlightMax,
      (...refusal) => this.#refused(...refusal),
      options.outbound === undefined ? 1 : outboundIdMax + 1,
    );
    this.#outbounds = options.outbound === undefined ? [this.#window] : [this.#window, options.outbound];
    this.#inbox = new Inbox(options.onMessage ?? ((_message, acknowledge) => acknowledge()));
    this.#subscriptions = new Subscriptions(options.subscriptions ?? [], (granted) =>
      options.onSubscribed?.(granted),
    );
    if (options.requireUnrevoked !== undefined) {
      this.#recheckTimer = setInterval(() => this.#recheck(), recheckMs);
      this.#recheckTimer.unref();
    }
    void this.#connect();
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** How many publishes the broker has not acknowledged yet. */
  get unacknowledged(): number {
    return this.#window.unacknowledged;
  }

  /**
   * Resolves when the broker has acknowledged (QoS 1) or the bytes are written (QoS 0); survives reconnects, and what
   * the broker refuses is offered again.
   *
   * @throws LinkError `mqtt.closed`, `mqtt.backlog`
   */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    const bytes =
      typeof payload === 'string'
        ? Buffer.from(payload)
        : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    return this.#window.publish({
      topic,
      payload: bytes,
      qos: options.qos,
      retain: options.retain ?? false,
      properties: noBytes,
      expirySeconds: undefined,
    });
  }

  /** Subscribes now, or on the next connect, and again on every connect. Resolves with what the broker granted. */
  subscribe(filter: string, qos: Qos): Promise<Qos | 'refused'> {
    return new Promise((resolve) => {
      this.#subscriptions.add({ filter, qos }, (granted) => resolve(granted[0]?.granted ?? 'refused'));
    });
  }

  /** Subscribes on this connection alone; `done` is not called if it ends before the answer. */
  ask(
    subscriptions: readonly LinkSubscription[],
    done: (granted: readonly GrantedSubscription[]) => void,
  ): void {
    this.#subscriptions.ask(subscriptions, done);
  }

  /** Stops reading what the broker sends, or goes on, over reconnects; what is published leaves all the same. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (this.#connected) this.#connection?.hold(isHeld);
  }

  /** Takes back what `ask` subscribed. */
  unsubscribe(filters: readonly string[], done: () => void): void {
    this.#subscriptions.remove(filters, done);
  }

  /** Says goodbye, so that the last will is not published, and ends. Unacknowledged publishes are rejected. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of [this.#connectTimer, this.#probeTimer, this.#refusedTimer]) clearTimeout(timer);
    clearInterval(this.#recheckTimer);
    this.#window.close();
    await this.#connection?.end(closeTimeoutMs, this.#options.isWillLeft === true ? 'with_will' : 'normal');
  }

  async #connect(): Promise<void> {
    const index = this.#failover.next;
    const broker = this.#brokerAt(index);
    try {
      const opened = await this.#open(index);
      if (this.#closed) return void opened.socket.destroy();
      this.#attach(opened, broker);
    } catch (error) {
      this.#options.log.warn(
        { broker: nameOf(broker), reason: startErrorText(error) },
        'link.connect_failed',
      );
      this.#retryAfter(this.#failover.failed());
    }
  }

  #open(index: number): Promise<SecureSocket> {
    const { brokerName, identity, requireUnrevoked } = this.#options;
    const resumption = this.#resumptions[index];
    return openSecureSocket({
      broker: this.#brokerAt(index),
      brokerName,
      identity,
      connectTimeoutMs,
      nowMs: Date.now(),
      requireUnrevoked,
      ...(resumption === undefined ? {} : { resumption }),
    });
  }

  #retryAfter(delayMs: number): void {
    if (this.#closed) return;
    this.#connectTimer = setTimeout(() => void this.#connect(), delayMs);
  }

  #recheck(): void {
    if (this.#connection === undefined || this.#peer === undefined) return;
    try {
      this.#options.requireUnrevoked?.(this.#peer);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      this.#connection.fail(error.message);
    }
  }

  #attach({ socket, peer }: SecureSocket, broker: Endpoint): void {
    this.#peer = peer;
    const { clientId, cleanSession, will, receiveMaximum, sessionExpirySeconds } = this.#options;
    const connection: LinkConnection = new LinkConnection(socket, {
      version: this.#version,
      connect: {
        clientId,
        clean: cleanSession,
        keepAliveSeconds: this.#options.keepAliveSeconds ?? defaults.keepAliveSeconds,
        sessionExpirySeconds: cleanSession ? 0 : (sessionExpirySeconds ?? neverExpires),
        packetBytesMax,
        ...(receiveMaximum === undefined ? {} : { receiveMaximum }),
        will,
      },
      answerTimeoutMs: connectTimeoutMs,
      schedule: this.#options.schedule ?? ((flush) => void setImmediate(flush)),
      handler: {
        connack: (connack) => this.#established(connection, connack, broker, socket.isSessionReused()),
        publish: (packet) =>
          this.#inbox.publish(packet, (type, packetId) => connection.acknowledge(type, packetId)),
        released: (packetId) => this.#inbox.release(packetId, (type, id) => connection.acknowledge(type, id)),
        acknowledged: (packetId, code, reason) =>
          this.#ownerOf(packetId).acknowledged(packetId, code, reason),
        subscribed: ({ packetId, codes }) => this.#subscribed(packetId, codes),
        unsubscribed: ({ packetId }) => this.#subscriptions.removed(packetId),
        drained: () => this.#outbounds.forEach((outbound) => outbound.pump()),
        closed: (end) => this.#detached(broker, end),
      },
    });
    this.#connection = connection;
  }

  #established(
    connection: LinkConnection,
    { code, sessionPresent, properties }: Connack,
    broker: Endpoint,
    isResumed: boolean,
  ): void {
    const { version } = connection;
    if (code !== 0) {
      this.#isDowngrading = version === 5 && unsupportedVersion.includes(code);
      const why = properties.reasonString === undefined ? '' : `: ${properties.reasonString}`;
      throw new LinkError('mqtt.refused', `CONNACK with return code ${code}${why}`); // §3.2.2.3
    }
    if (properties.maximumQos === 0) {
      throw new LinkError('mqtt.refused', 'the broker takes no QoS 1, so nothing would be certain');
    }
    this.#connected = true;
    this.#failover.connected(this.#monotonicMs());
    this.#probeLater();
    const { log, onConnect } = this.#options;
    log.info({ broker: nameOf(broker), version, sessionPresent, isResumed }, 'link.connected');
    this.#inbox.connected(sessionPresent);
    this.#subscriptions.connected(connection);
    for (const outbound of this.#outbounds) outbound.connected(connection);
    if (this.#isHeld) connection.hold(true);
    onConnect?.({ broker, version, sessionPresent, isResumed });
  }

  #detached(broker: Endpoint, { reason, wasSilent, isHangUp }: ConnectionEnd): void {
    const wasConnected = this.#connected;
    this.#connected = false;
    this.#connection = undefined;
    clearTimeout(this.#probeTimer);
    for (const outbound of this.#outbounds) outbound.disconnected(isHangUp);
    this.#inbox.disconnected();
    this.#subscriptions.disconnected();
    if (this.#closed) return;
    if (!this.#isReturning) this.#options.log.warn({ broker: nameOf(broker), reason }, 'link.lost');
    if (wasConnected) this.#options.onDisconnect?.(reason);
    // Some brokers of 3.1.1 only hang up on what they do not know; so the versions take turns until one is answered.
    this.#version = this.#isDowngrading || (wasSilent && this.#version === 5) ? 4 : 5;
    if (this.#isReturning) this.#failover.return();
    else if (wasConnected) return this.#retryAfter(this.#failover.lost(this.#monotonicMs()));
    // The same broker, in the version that it knows.
    else if (!this.#isDowngrading) return this.#retryAfter(this.#failover.failed());
    this.#isReturning = false;
    this.#isDowngrading = false;
    return this.#retryAfter(0);
  }

  #ownerOf(packetId: number): Outbound {
    const { outbound } = this.#options;
    return outbound !== undefined && packetId <= outboundIdMax ? outbound : this.#window;
  }

  #subscribed(packetId: number, codes: readonly number[]): void {
    for (const { filter, granted } of this.#subscriptions.answered(packetId, codes) ?? []) {
      if (granted === 'refused') this.#options.log.warn({ filter }, 'link.subscription_refused');
    }
  }

  #refused(topic: string, code: number | undefined, reason: string | undefined): void {
    const { log, onRefused } = this.#options;
    const reasonCode = code === undefined ? 'packet_too_large' : `0x${code.toString(16)}`;
    log.error({ topic, reasonCode, reason }, 'link.publish_refused');
    onRefused?.(topic, code);
    this.#refusedTimer ??= setTimeout(
      () => {
        this.#refusedTimer = undefined;
        this.#window.retry();
      },
      backoffMs(this.#refusals++, refusedRetryMs),
    );
  }

  /** Looks for brokers that are preferred to this one. */
  #probeLater(): void {
    if (this.#failover.better.length === 0) return;
    clearTimeout(this.#probeTimer);
    this.#probeTimer = setTimeout(() => void this.#probe(), this.#failover.probeDelayMs());
    this.#probeTimer.unref();
  }

  async #probe(): Promise<void> {
    const connection = this.#connection;
    let found: number | undefined;
    for (const index of this.#failover.better) {
      try {
        (await this.#open(index)).socket.destroy();
        found = index;
        break;
      } catch (error) {
        const broker = nameOf(this.#brokerAt(index));
        this.#options.log.debug({ broker, reason: startErrorText(error) }, 'link.probe_failed');
      }
    }
    if (this.#closed || connection === undefined || this.#connection !== connection) return;
    if (!this.#failover.probed(found)) return this.#probeLater();
    this.#options.log.info({ broker: nameOf(this.#brokerAt(found ?? 0)) }, 'link.returning');
    this.#isReturning = true;
    await connection.end(closeTimeoutMs, 'normal');
  }

  #brokerAt(index: number): Endpoint {
    const broker = this.#brokers[index] ?? this.#brokers[0];
    if (broker === undefined) throw new Error('a link needs a broker');
    return broker;
  }
}

const noBytes = Buffer.alloc(0);

function nameOf({ host, port }: Endpoint): string {
  return `${host}:${port}`;
}
