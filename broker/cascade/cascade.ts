/** The cascade: store and forward to an upstream broker, and what comes down from it (DESIGN §6). */
import { levelOf, parseNamespacePath } from '../../domain/namespace.ts';
import { filterCovers } from '../../domain/topic.ts';
import { LinkError } from '../../mqtt/link-error.ts';
import { openLink } from '../../mqtt/link.ts';
import type { Link, LinkOptions } from '../../mqtt/link.ts';
import type { ReceivedMessage } from '../../mqtt/inbox.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import type { Endpoint } from '../../runtime/config.ts';
import type { Log } from '../../runtime/log.ts';
import type { Outlet } from '../routing/delivery-queue.ts';
import { BrokerError } from '../errors.ts';
import type { Hub, PublishRefusal } from '../routing/hub.ts';
import { isRefused } from '../routing/hub.ts';
import type { Measures } from '../measures.ts';
import type { Content, Delivery, Message, Terms } from '../routing/message.ts';
import { noBytes } from '../routing/message.ts';
import type { RoleTable } from '../access/roles.ts';
import { everyoneReads } from '../access/roles.ts';
import type { Client, Session } from '../routing/session.ts';
import { cascadeIdentity, neverExpires } from '../routing/session.ts';
import type { Sessions } from '../routing/sessions.ts';
import { areCovered, rightsOf } from '../access/tacs.ts';
import type { Turn } from '../store/turn.ts';

export interface CascadeOptions {
  readonly upstream: Endpoint;
  /** The common name that the upstream broker's certificate must carry. */
  readonly brokerName: string | readonly string[];
  readonly identity: TlsIdentity;
  readonly filters: CascadeFilters;
  readonly inFlightMax: number;
  readonly keepAliveSeconds: number;
  readonly hub: Hub;
  readonly sessions: Sessions;
  readonly turn: Turn;
  readonly measures: Measures;
  readonly log: Log;
  readonly reconnect?: LinkOptions['reconnect'];
}

export interface CascadeFilters {
  readonly up: readonly string[];
  readonly down: readonly string[];
  /** Of what comes down, what is kept as retained here: MQTT 3.1.1 does not say of a live message that it was. */
  readonly retainDown: readonly string[];
}

interface Arrival {
  readonly message: ReceivedMessage;
  readonly acknowledge: () => void;
}

export interface CascadeState {
  readonly connected: boolean;
  readonly queued: number;
  readonly queuedBytes: number;
  readonly inFlight: number;
  readonly forwardedUp: number;
  readonly forwardedDown: number;
}

const upNames = ['snapshots', 'status', 'certificates', 'commands/result', 'firmware/progress', 'enrolment'];
const downNames = ['commands', 'firmware', 'policy', 'enrolment/reply'];
const cascadeClientId = 'cascade';

/**
 * What a cascade carries unless the configuration says otherwise: the device topics of the broker's own subtree, and
 * what everyone may read.
 *
 * @throws BrokerError `broker.cascade_denied` if the certificate may not publish or read some of it upstream
 */
export function cascadeFilters(
  identity: string,
  configured: { readonly [K in keyof CascadeFilters]?: readonly string[] | undefined },
  roles: RoleTable,
): CascadeFilters {
  const path = parseNamespacePath(identity);
  const below = path === undefined ? undefined : devicesBelow(path);
  const own = (names: readonly string[]): string[] =>
    below === undefined ? [] : names.map((name) => `${below}/${name}`);
  const filters = {
    up: configured.up ?? own(upNames),
    down: configured.down ?? [...own(downNames), ...everyoneReads],
    retainDown: configured.retainDown ?? [...own(['policy']), ...everyoneReads],
  };
  for (const [action, wanted] of [
    ['publish', filters.up],
    ['subscribe', filters.down],
  ] as const) {
    const rights = rightsOf(identity, action, roles) ?? [];
    const denied = wanted.find((filter) => !areCovered(rights, filter));
    if (denied === undefined) continue;
    throw new BrokerError(
      'broker.cascade_denied',
      `cannot cascade ${denied}: ${identity} may not ${action} it upstream`,
    );
  }
  return filters;
}

/** The upstream broker's end of this broker: one durable session here, one link there. */
export class Cascade implements Client, Outlet {
  readonly #options: CascadeOptions;
  readonly #session: Session;
  readonly #link: Link;
  #waiting: Arrival[] = [];
  #isClosed = false;
  #isDraining = false;
  /** Called when nothing is in flight, or cannot come to an end. */
  #onDrained: () => void = () => undefined;
  #forwardedUp = 0;
  #forwardedDown = 0;

  constructor(options: CascadeOptions) {
    this.#options = options;
    const { hub, sessions, filters } = options;
    const { session } = sessions.open(cascadeIdentity, cascadeClientId, this, {
      clean: false,
      expirySeconds: neverExpires,
    });
    this.#session = session;
    this.#link = openLink({
      broker: options.upstream,
      brokerName: options.brokerName,
      identity: options.identity,
      // Stable, so that what comes down waits upstream while this broker is away.
      clientId: `cascade-of-${options.identity.commonName}`,
      cleanSession: false,
      keepAliveSeconds: options.keepAliveSeconds,
      inFlightMax: options.inFlightMax,
      subscriptions: filters.down.map((filter) => ({ filter, qos: 1 })),
      onMessage: (message, acknowledge) => options.turn.guard(() => this.#receive(message, acknowledge)),
      onConnect: () => this.#connectionChanged(true),
      onDisconnect: () => this.#connectionChanged(false),
      log: options.log,
      ...(options.reconnect === undefined ? {} : { reconnect: options.reconnect }),
    });
    for (const filter of session.subscriptions.keys()) {
      if (!filters.up.includes(filter)) sessions.unsubscribe(session, filter);
    }
    for (const filter of filters.up) {
      if (session.subscriptions.has(filter)) continue;
      const subscription = {
        qos: 1,
        noLocal: false,
        retainAsPublished: true,
        identifier: undefined,
      } as const;
      sessions.subscribe(session, filter, subscription);
      hub.replay(session, filter, subscription);
    }
    session.queue.attach(this);
  }

  get state(): CascadeState {
    const { queue } = this.#session;
    return {
      connected: this.#link.connected,
      queued: queue.messages,
      queuedBytes: queue.bytes,
      inFlight: queue.inFlight,
      forwardedUp: this.#forwardedUp,
      forwardedDown: this.#forwardedDown,
    };
  }

  /** The link keeps what is in flight over its reconnects, so the window alone bounds what it holds. */
  get isReady(): boolean {
    return !this.#isClosed && !this.#isDraining;
  }

  send(delivery: Delivery, { topic, payload }: Message): boolean {
    this.#link.publish(topic, payload, { qos: 1, retain: delivery.retain }).then(
      () => this.#options.turn.guard(() => this.#forwarded(delivery)),
      (error: unknown) => {
        // Closed: the message stays in the queue and goes out on the next start.
        if (!(error instanceof LinkError)) throw error;
      },
    );
    return true;
  }

  release(): void {
    throw new Error('the cascade subscribes with QoS 1, so nothing of it waits for a release');
  }

  sendNow({ topic, payload }: Content, { retain }: Terms): boolean {
    if (this.#isClosed || !this.#link.connected) return false;
    this.#link.publish(topic, payload, { qos: 0, retain }).catch((error: unknown) => {
      this.#options.log.debug({ topic, detail: String(error) }, 'cascade.qos0_lost');
    });
    return true;
  }

  /** Sends nothing more, and waits until the upstream has acknowledged what is on its way, but no longer than that. */
  async drain(withinMs: number): Promise<void> {
    this.#isDraining = true;
    if (this.#session.queue.inFlight === 0 || !this.#link.connected) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.#onDrained = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Ends it; what is not acknowledged by the upstream stays queued. */
  async stop(): Promise<void> {
    this.close();
    await this.#link.close();
    this.#options.turn.guard(() => this.#options.sessions.close(this.#session));
  }

  close(): void {
    this.#isClosed = true;
  }

  #forwarded({ packetId }: Delivery): void {
    if (this.#isClosed) return;
    this.#forwardedUp++;
    this.#options.measures.cascadeForwarded.inc({ direction: 'up' });
    this.#session.queue.acknowledged(packetId);
    if (this.#session.queue.inFlight === 0) this.#onDrained();
  }

  /** Takes what had to wait for room here, in order. Called every second. */
  retryWaiting(): void {
    while (this.#waiting.length > 0) {
      const [first] = this.#waiting;
      if (first === undefined || this.#take(first) !== undefined) return;
      this.#waiting.shift();
    }
  }

  /** Unacknowledged, the upstream sends no more than its window, which bounds what waits here. */
  #receive(message: ReceivedMessage, acknowledge: () => void): void {
    if (this.#isClosed) return;
    const arrival = { message, acknowledge };
    const refusal = this.#waiting.length > 0 ? undefined : this.#take(arrival);
    if (refusal === undefined && this.#waiting.length === 0) return;
    this.#waiting.push(arrival);
    if (refusal === undefined) return;
    const { measures, log } = this.#options;
    measures.refusals.inc({ reason: refusal });
    log.error({ topic: message.topic, reason: refusal }, 'cascade.message_refused');
  }

  /** The upstream is told that a message has arrived only once it is durable here. */
  #take({ message, acknowledge }: Arrival): PublishRefusal | undefined {
    const { topic, payload, qos, retain } = message;
    const { hub, turn, filters, measures } = this.#options;
    const isRetained = retain || filters.retainDown.some((filter) => filterCovers(filter, topic));
    // Every reconnect brings the retained messages again.
    const isKnown = isRetained && hub.retainedPayload(topic)?.equals(payload) === true;
    if (!isKnown) {
      const content = { topic, payload, properties: noBytes, expiresMs: undefined };
      const outcome = hub.publish({ ...content, qos, retain: isRetained, origin: 'upstream' }, undefined);
      if (isRefused(outcome)) return outcome;
    }
    turn.afterCommit(() => {
      this.#forwardedDown++;
      measures.cascadeForwarded.inc({ direction: 'down' });
      acknowledge();
    });
    return undefined;
  }

  #connectionChanged(isConnected: boolean): void {
    // What waits is not acknowledged, so the upstream sends it again.
    if (!isConnected) {
      this.#waiting = [];
      this.#onDrained();
    }
    this.#options.measures.cascadeConnected.set(isConnected ? 1 : 0);
  }
}

/** @returns for example `ms-acc-1/+/+` */
function devicesBelow(path: NonNullable<ReturnType<typeof parseNamespacePath>>): string {
  const missing = { 'master-account': '/+/+', account: '/+', device: '' }[levelOf(path)];
  return `${path}${missing}`;
}
