/** The one MQTT client of every program: MQTT 3.1.1 over mutual TLS, which acknowledges when it is told to. */
import type { TLSSocket } from 'node:tls';
import mqttPacket from 'mqtt-packet';
import type { IConnackPacket, ISubackPacket, Packet, QoS } from 'mqtt-packet';
import { envelopeBytesMax } from '../domain/limits.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import type { Endpoint } from '../runtime/config.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { backoffMs } from '../runtime/retry.ts';
import { startErrorText } from '../runtime/shutdown.ts';
import { Inbox } from './inbox.ts';
import type { MessageHandler } from './inbox.ts';
import { KeepAlive } from './keep-alive.ts';
import { LinkError } from './link-error.ts';
import { PublishWindow } from './publish-window.ts';
import { openSecureSocket } from './secure-socket.ts';

export interface LinkSubscription {
  readonly filter: string;
  readonly qos: QoS;
}
export interface GrantedSubscription {
  readonly filter: string;
  readonly granted: QoS | 'refused';
}

export interface LinkOptions {
  readonly broker: Endpoint;
  /** The common name that the broker's certificate must carry, for example `vendor-broker` or `ms-acc-1`. */
  readonly brokerName: string | readonly string[];
  readonly identity: TlsIdentity;
  readonly clientId: string;
  readonly cleanSession: boolean;
  readonly keepAliveSeconds?: number;
  readonly will?: {
    readonly topic: string;
    readonly payload: string | Uint8Array;
    readonly qos: 0 | 1;
    readonly retain: boolean;
  };
  /** Unacknowledged publishes on the wire. */
  readonly inFlightMax?: number;
  /** Subscribed on every connect. */
  readonly subscriptions?: readonly LinkSubscription[];
  readonly onMessage?: MessageHandler;
  readonly onConnect?: (sessionPresent: boolean) => void;
  readonly onDisconnect?: (reason: string) => void;
  readonly onSubscribed?: (granted: readonly GrantedSubscription[]) => void;
  readonly log: Log;
  readonly reconnect?: BackoffLimits;
}

export interface PublishOptions {
  readonly qos: 0 | 1;
  readonly retain?: boolean;
}

const defaults = {
  keepAliveSeconds: 30,
  inFlightMax: 512,
  reconnect: { firstMs: 200, maxMs: 10_000 },
  connectTimeoutMs: 15_000,
  closeTimeoutMs: 2_000,
};
/** A fixed header, a topic and an envelope. */
const packetBytesMax = envelopeBytesMax + 1024;
const messageIdMax = 65_535;

/** Connects and stays connected until closed: every failure on the way is logged and tried again with back-off. */
export function openLink(options: LinkOptions): Link {
  return new Link(options);
}

interface PendingSubscribe {
  readonly subscriptions: readonly LinkSubscription[];
  readonly resolve: (granted: readonly GrantedSubscription[]) => void;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #window: PublishWindow;
  readonly #inbox: Inbox;
  readonly #subscriptions: Map<string, LinkSubscription>;
  readonly #pendingSubscribes = new Map<number, PendingSubscribe>();
  #socket: TLSSocket | undefined;
  #connected = false;
  #closed = false;
  #attempt = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #lastSubscribeId = 0;
  #keepAlive: KeepAlive | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#window = new PublishWindow(options.inFlightMax ?? defaults.inFlightMax);
    this.#inbox = new Inbox(options.onMessage ?? ((_message, acknowledge) => acknowledge()));
    this.#subscriptions = new Map((options.subscriptions ?? []).map((one) => [one.filter, one]));
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
   * Resolves when the broker has acknowledged (QoS 1) or the bytes are written (QoS 0); survives reconnects.
   *
   * @throws LinkError `mqtt.closed`, `mqtt.backlog`
   */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    const bytes =
      typeof payload === 'string'
        ? Buffer.from(payload)
        : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    return this.#window.publish({ topic, payload: bytes, qos: options.qos, retain: options.retain ?? false });
  }

  /** Subscribes now, or on the next connect, and again on every connect. Resolves with what the broker granted. */
  subscribe(filter: string, qos: QoS): Promise<QoS | 'refused'> {
    const subscription = { filter, qos };
    this.#subscriptions.set(filter, subscription);
    return new Promise((resolve) => {
      this.#pendingSubscribes.set(this.#nextSubscribeId(), {
        subscriptions: [subscription],
        resolve: (granted) => resolve(granted[0]?.granted ?? 'refused'),
      });
      this.#sendPendingSubscribes();
    });
  }

  /** Says goodbye, so that the last will is not published, and ends. Unacknowledged publishes are rejected. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#window.close();
    const socket = this.#socket;
    if (!socket) return;
    if (this.#connected) this.#write({ cmd: 'disconnect' });
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      setTimeout(() => socket.destroy(), defaults.closeTimeoutMs).unref();
      socket.end();
    });
  }

  async #connect(): Promise<void> {
    const { broker, brokerName, identity, log } = this.#options;
    try {
      const socket = await openSecureSocket({
        broker,
        brokerName,
        identity,
        connectTimeoutMs: defaults.connectTimeoutMs,
        nowMs: Date.now(),
      });
      if (this.#closed) return void socket.destroy();
      this.#attach(socket);
    } catch (error) {
      log.warn(
        { broker: `${broker.host}:${broker.port}`, reason: startErrorText(error) },
        'link.connect_failed',
      );
      this.#retryLater();
    }
  }

  #retryLater(): void {
    if (this.#closed) return;
    const delayMs = backoffMs(this.#attempt++, this.#options.reconnect ?? defaults.reconnect);
    this.#retryTimer = setTimeout(() => void this.#connect(), delayMs);
  }

  #attach(socket: TLSSocket): void {
    this.#socket = socket;
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    let reason = 'the broker closed the connection';
    const fail = (why: string): void => {
      reason = why;
      socket.destroy();
    };
    parser.on('packet', (packet) => {
      try {
        this.#receive(packet);
      } catch (error) {
        if (!(error instanceof LinkError)) throw error;
        fail(error.message);
      }
    });
    parser.on('error', (error: unknown) => fail(`malformed packet: ${String(error)}`));
    socket.on('data', (bytes) => {
      this.#keepAlive?.heard();
      socket.cork(); // one write for all acknowledgements of what came in one piece
      if (parser.parse(bytes) > packetBytesMax) fail(`a packet has more than ${packetBytesMax} bytes`);
      process.nextTick(() => socket.uncork());
    });
    socket.on('error', (error) => (reason = startErrorText(error)));
    socket.once('close', () => this.#detached(reason));
    this.#sendConnect();
  }

  #sendConnect(): void {
    const { clientId, cleanSession, will } = this.#options;
    const keepAliveSeconds = this.#options.keepAliveSeconds ?? defaults.keepAliveSeconds;
    this.#write({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: cleanSession,
      clientId,
      keepalive: keepAliveSeconds,
      ...(will ? { will: { ...will, payload: Buffer.from(will.payload) } } : {}),
    });
    this.#keepAlive = new KeepAlive(keepAliveSeconds, {
      ping: () => this.#write({ cmd: 'pingreq' }),
      dead: () => this.#socket?.destroy(new Error('the broker stopped answering')),
    });
  }

  #detached(reason: string): void {
    const wasConnected = this.#connected;
    this.#connected = false;
    this.#socket = undefined;
    this.#keepAlive?.stop();
    this.#window.disconnected();
    this.#inbox.disconnected();
    const { broker, log, onDisconnect } = this.#options;
    if (this.#closed) return;
    log.warn({ broker: `${broker.host}:${broker.port}`, reason }, 'link.lost');
    if (wasConnected) onDisconnect?.(reason);
    this.#retryLater();
  }

  #receive(packet: Packet): void {
    if (!this.#connected && packet.cmd !== 'connack') {
      throw new LinkError('mqtt.protocol', `${packet.cmd} before CONNACK`); // [MQTT-3.2.0-1]
    }
    switch (packet.cmd) {
      case 'connack':
        return this.#established(packet);
      case 'publish':
        return this.#inbox.publish(packet, (answer) => this.#write(answer));
      case 'pubrel':
        return this.#inbox.release(packet.messageId ?? 0, (answer) => this.#write(answer));
      case 'puback':
        return this.#window.acknowledged(packet.messageId ?? 0);
      case 'suback':
        return this.#subscribed(packet);
      case 'pingresp':
      case 'unsuback':
        return undefined;
      default:
        throw new LinkError('mqtt.protocol', `a broker does not send ${packet.cmd}`);
    }
  }

  #established(connack: IConnackPacket): void {
    if (connack.returnCode !== 0) {
      throw new LinkError('mqtt.refused', `CONNACK with return code ${String(connack.returnCode)}`); // §3.2.2.3
    }
    const { broker, log, onConnect } = this.#options;
    this.#connected = true;
    this.#attempt = 0;
    log.info(
      { broker: `${broker.host}:${broker.port}`, sessionPresent: connack.sessionPresent },
      'link.connected',
    );
    this.#subscribeAll();
    this.#window.connected((publish, messageId, duplicate) =>
      this.#write({ cmd: 'publish', ...publish, messageId, dup: duplicate }),
    );
    onConnect?.(connack.sessionPresent);
  }

  #subscribeAll(): void {
    const subscriptions = [...this.#subscriptions.values()];
    // What waited for its answer on the last connection is asked again on its own.
    const waiting = new Set([...this.#pendingSubscribes.values()].flatMap((one) => one.subscriptions));
    const rest = subscriptions.filter((one) => !waiting.has(one));
    if (rest.length > 0) {
      this.#pendingSubscribes.set(this.#nextSubscribeId(), {
        subscriptions: rest,
        resolve: (granted) => this.#options.onSubscribed?.(granted),
      });
    }
    this.#sendPendingSubscribes();
  }

  #sendPendingSubscribes(): void {
    if (!this.#connected) return;
    for (const [messageId, { subscriptions }] of this.#pendingSubscribes) {
      this.#write({
        cmd: 'subscribe',
        messageId,
        subscriptions: subscriptions.map(({ filter, qos }) => ({ topic: filter, qos })),
      });
    }
  }

  #subscribed(suback: ISubackPacket): void {
    const messageId = suback.messageId ?? 0;
    const pending = this.#pendingSubscribes.get(messageId);
    if (!pending) return;
    this.#pendingSubscribes.delete(messageId);
    const granted = pending.subscriptions.map(({ filter }, index) => ({
      filter,
      granted: grantedOf(suback.granted[index]),
    }));
    for (const one of granted) {
      if (one.granted === 'refused')
        this.#options.log.warn({ filter: one.filter }, 'link.subscription_refused');
    }
    pending.resolve(granted);
  }

  /** Subscribe ids and publish ids share one number space [MQTT-2.3.1-4], so these count from the top. */
  #nextSubscribeId(): number {
    do this.#lastSubscribeId = (this.#lastSubscribeId % 255) + 1;
    while (this.#pendingSubscribes.has(messageIdMax + 1 - this.#lastSubscribeId));
    return messageIdMax + 1 - this.#lastSubscribeId;
  }

  #write(packet: Packet): void {
    this.#socket?.write(mqttPacket.generate(packet));
  }
}

function grantedOf(code: unknown): QoS | 'refused' {
  return code === 0 || code === 1 || code === 2 ? code : 'refused'; // §3.9.3: 0x80 is a failure
}
