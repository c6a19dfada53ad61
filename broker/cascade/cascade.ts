/** The cascade: store and forward to an upstream broker, and what comes down from it (DESIGN §6). */
import { brokerStatusTopic, encodeBrokerStatus } from '../../domain/broker-status.ts';
import type { Clock } from '../../domain/clock.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import type { ReceivedMessage } from '../../mqtt/inbox.ts';
import type { Connected, Link, LinkOptions } from '../../mqtt/link.ts';
import { openLink } from '../../mqtt/link.ts';
import type { Outbound, Sender } from '../../mqtt/outbound.ts';
import { failureFrom } from '../../mqtt/outbound.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import type { Log } from '../../runtime/log.ts';
import { packageVersion } from '../../runtime/version.ts';
import type { Measures } from '../measures.ts';
import type { Hub } from '../routing/hub.ts';
import type { Content, Terms } from '../routing/message.ts';
import type { Client, Session } from '../routing/session.ts';
import type { Sessions } from '../routing/sessions.ts';
import type { Turn } from '../store/turn.ts';
import { Arrivals } from './arrivals.ts';
import { Asides } from './asides.ts';
import { subscribeToCarried } from './carried-up.ts';
import type { CascadeConfig } from './cascade-config.ts';
import type { CascadeState } from './cascade-state.ts';
import { Departures } from './departures.ts';
import type { CascadeFilters } from './filters.ts';
import { Pace } from './pace.ts';
import { Reconciler } from './reconciler.ts';
import { retainedFromAbove } from './retained-from-above.ts';
import { StatusReport } from './status-report.ts';
import { TopicMap, withoutGates } from './topic-map.ts';
import type { GiveUpReason, UpOutlet } from './up-outlet.ts';
import type { UpQueue } from './up-queue.ts';
import type { UpDelivery } from './up-store.ts';

export interface CascadeOptions extends Pick<
  CascadeConfig,
  'upstream' | 'brokerName' | 'inFlightMax' | 'keepAliveSeconds' | 'bandwidth'
> {
  /** Of this broker, for whoever watches it above. */
  readonly name: string;
  readonly identity: TlsIdentity;
  readonly filters: CascadeFilters;
  readonly hub: Hub;
  readonly sessions: Sessions;
  readonly turn: Turn;
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: Clock;
  readonly monotonicMs: () => number;
  readonly requireUnrevoked: LinkOptions['requireUnrevoked'];
  readonly reconnect?: LinkOptions['reconnect'];
  readonly probe?: LinkOptions['probe'];
}

/** Reason codes of PUBACK that pass: the upstream has no room now, or lost count of identifiers (MQTT 5 §3.4.2.1). */
const passingCodes = new Set([0x91, 0x97]);
/** What the link publishes beside the queue: a status and a fence. */
const besideMax = 2;
const cascadeClientId = 'cascade';
const statusEveryMs = 5000;

/** The upstream broker's end of this broker: one durable queue here, one link there. */
export class Cascade implements Client, Outbound, UpOutlet {
  /** What the upstream would not take, for a person to decide on. */
  readonly asides: Asides;
  readonly #options: CascadeOptions;
  readonly #session: Session;
  readonly #queue: UpQueue;
  readonly #link: Link;
  readonly #up: TopicMap;
  readonly #down: TopicMap;
  readonly #pace: Pace;
  readonly #departures: Departures;
  readonly #reconciler: Reconciler | undefined;
  readonly #arrivals: Arrivals;
  readonly #statusTopic: string | undefined;
  readonly #status: StatusReport | undefined;
  #connected: (Connected & { readonly sinceMs: number }) | undefined;
  #lastUpstream: string | undefined;
  #resting: NodeJS.Immediate | NodeJS.Timeout | undefined;
  #isClosed = false;
  #isDraining = false;
  /** What the upstream has retained is not known yet. */
  #isUnreconciled = false;
  /** Called when nothing is in flight, or cannot come to an end. */
  #onDrained: () => void = () => undefined;
  #forwardedUp = 0;
  constructor(options: CascadeOptions) {
    this.#options = options;
    const { sessions, filters, identity, turn, log } = options;
    const { session, queue } = sessions.openCascade(cascadeClientId, this);
    this.#session = session;
    this.#queue = queue;
    this.asides = new Asides({ ...options, queue });
    this.#up = new TopicMap(filters.up);
    this.#down = new TopicMap(filters.down);
    this.#pace = new Pace({
      bytesPerSecondMax: options.bandwidth.bytesPerSecondMax,
      burstBytes: options.bandwidth.burstBytes,
      monotonicMs: options.monotonicMs,
    });
    this.#departures = new Departures({
      topics: this.#up,
      answers: withoutGates(filters.down),
      pace: this.#pace,
      measures: options.measures,
      clock: options.clock,
      monotonicMs: options.monotonicMs,
    });
    const path = parseNamespacePath(identity.commonName);
    const fenceTopic = path && `${path}/broker/fence`;
    const statusTopic = path && brokerStatusTopic(path);
    this.#statusTopic = statusTopic;
    this.#reconciler =
      fenceTopic === undefined
        ? undefined
        : new Reconciler({
            link: () => this.#link,
            fenceTopic,
            ...retainedFromAbove(this.#down, options),
            monotonicMs: options.monotonicMs,
            log,
          });
    this.#status =
      statusTopic === undefined
        ? undefined
        : new StatusReport({
            publish: (payload) => this.#link.publish(statusTopic, payload, { qos: 1, retain: true }),
            everyMs: statusEveryMs,
            monotonicMs: options.monotonicMs,
          });
    this.#arrivals = new Arrivals({
      hub: options.hub,
      turn,
      topics: this.#down,
      answers: withoutGates(filters.up),
      retainDown: filters.retainDown,
      isReplaying: () => this.#reconciler?.isReplaying ?? true,
      measures: options.measures,
      log,
      clock: options.clock,
    });
    subscribeToCarried(session, filters.up, options);
    this.#link = this.#openLink(fenceTopic);
  }

  get state(): CascadeState {
    const { messages, bytes, inFlight, setAside } = this.#queue;
    return {
      connected: this.#connected !== undefined,
      upstream: this.#lastUpstream,
      version: this.#connected?.version,
      connectedSinceMs: this.#connected?.sinceMs,
      queued: messages,
      queuedBytes: bytes,
      inFlight,
      oldestWaitingMs: this.#queue.oldestWaitingMs(),
      forwardedUp: this.#forwardedUp,
      forwardedDown: this.#arrivals.taken,
      refused: setAside.messages,
      newestRefused: setAside.newest(),
    };
  }

  // What the link says.

  connected(sender: Sender): void {
    if (this.#isClosed) return;
    this.#departures.sender = sender;
    this.#options.turn.guard(() => this.#queue.attach(this, sender.sessionPresent));
  }

  disconnected(isHangUp: boolean): void {
    this.#departures.disconnected();
    this.#stopResting();
    if (this.#isClosed) return;
    const isOverMessage = this.#link.unacknowledged === 0; // it was nothing that the link published beside the queue
    const end = isOverMessage ? 'hung_up_on_message' : 'hung_up';
    this.#options.turn.guard(() => this.#queue.detach(isHangUp ? end : undefined));
  }

  /** The socket has room again. */
  pump(): void {
    this.#options.turn.guard(() => this.#queue.pump());
  }

  acknowledged(packetId: number, code: number, reason: string | undefined): void {
    if (this.#isClosed) return;
    this.#options.turn.guard(() => this.#settle(packetId, code, reason));
    if (this.#queue.inFlight === 0) this.#onDrained();
  }

  // What the queue asks.

  get windowMax(): number {
    const { receiveMaximum = 1 } = this.#departures.sender ?? {};
    return Math.max(1, Math.min(this.#options.inFlightMax, receiveMaximum - besideMax));
  }

  get isReady(): boolean {
    return !this.#isDraining && this.#departures.isReady;
  }

  waitMs(): number {
    return this.#pace.waitMs();
  }

  later(delayMs: number): void {
    const resume = (): void => this.#options.turn.guard(() => this.#queue.resume());
    this.#resting = delayMs === 0 ? setImmediate(resume) : setTimeout(resume, delayMs);
  }

  send(delivery: UpDelivery, packetId: number, duplicate: boolean): number | GiveUpReason {
    return this.#departures.send(delivery, packetId, duplicate);
  }

  // What the session asks.

  sendNow(content: Content, { retain }: Terms): boolean {
    const isSent = this.isReady && !this.#queue.isCautious && this.#departures.sendNow(content, retain);
    if (!isSent && retain) this.#queue.owed.add(content.topic);
    return isSent;
  }

  /** Sends nothing more, and waits until the upstream has acknowledged what is on its way, but no longer than that. */
  async drain(withinMs: number): Promise<void> {
    this.#isDraining = true;
    if (this.#queue.inFlight === 0 || this.#departures.sender === undefined) return;
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
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopResting();
    if (this.#departures.sender !== undefined) this.#queue.detach();
    this.#departures.disconnected();
    this.#options.measures.cascadeConnected.set(0);
  }

  /** Takes what had to wait for room here, in order, and lets go of what grew too old. Called every second. */
  sweep(): void {
    if (this.#isClosed) return;
    this.#queue.sweep();
    this.#sendOwed();
    this.#reconcile();
    this.#reconciler?.sweep();
    this.#arrivals.sweep();
    this.#report();
  }

  #sendOwed(): void {
    for (const topic of this.#queue.owedNow()) {
      const isCarried = this.#up.hasLocal(topic);
      if (isCarried && !this.#options.hub.repeatRetained(this.#session, topic)) return;
      this.#queue.owed.settled(topic);
    }
  }

  #openLink(fenceTopic: string | undefined): Link {
    const options = this.#options;
    const { identity, filters, turn, log } = options;
    const statusTopic = this.#statusTopic;
    return openLink({
      broker: options.upstream,
      brokerName: options.brokerName,
      identity,
      requireUnrevoked: options.requireUnrevoked,
      // Stable, so that what comes down waits upstream while this broker is away.
      clientId: `cascade-of-${identity.commonName}`,
      cleanSession: false,
      keepAliveSeconds: options.keepAliveSeconds,
      outbound: this,
      inFlightMax: besideMax,
      subscriptions: [
        ...filters.down.map(({ remote }) => ({
          filter: remote,
          qos: 1 as const,
          noLocal: true,
          retainAsPublished: true,
        })),
        ...(fenceTopic === undefined ? [] : [{ filter: fenceTopic, qos: 1 as const }]),
      ],
      ...(statusTopic === undefined
        ? {}
        : {
            will: {
              topic: statusTopic,
              payload: encodeBrokerStatus({ state: 'offline', name: options.name }),
              qos: 1,
              retain: true,
            },
            isWillLeft: true,
          }),
      onMessage: (message, acknowledge) => turn.guard(() => this.#receive(message, acknowledge)),
      onConnect: (connected) => this.#linked(connected),
      onDisconnect: () => this.#unlinked(),
      onSubscribed: () => {
        this.#isUnreconciled = true;
        this.#reconcile();
      },
      schedule: (flush) => turn.afterCommit(flush),
      monotonicMs: options.monotonicMs,
      log,
      ...(options.reconnect === undefined ? {} : { reconnect: options.reconnect }),
      ...(options.probe === undefined ? {} : { probe: options.probe }),
    });
  }

  /** Not while the upstream may hang up on a message, for whatever else goes up would be suspected of it, too. */
  #reconcile(): void {
    if (!this.#isUnreconciled || this.#queue.isCautious) return;
    this.#isUnreconciled = false;
    this.#reconciler?.subscribed();
  }

  #settle(packetId: number, code: number, reason: string | undefined): void {
    const { measures, log } = this.#options;
    this.#departures.answered(packetId);
    if (code < failureFrom) {
      if (this.#queue.acknowledged(packetId) === undefined) return;
      this.#forwardedUp++;
      measures.cascadeForwarded.inc({ direction: 'up' });
      return;
    }
    const reasonCode = `0x${code.toString(16)}`;
    if (passingCodes.has(code)) {
      measures.cascade.refused.inc({ reason: reasonCode });
      log.warn({ reasonCode, reason }, 'cascade.upstream_full');
      this.#queue.refusedForNow(packetId);
    } else {
      this.#queue.refusedForGood(packetId, reasonCode);
    }
  }

  #receive(message: ReceivedMessage, acknowledge: () => void): void {
    if (this.#isClosed) return undefined;
    if (this.#reconciler?.received(message.topic, message.payload) === true) return acknowledge();
    // What the own status says comes down where everything of the own subtree does.
    if (message.topic === this.#statusTopic) return acknowledge();
    return this.#arrivals.receive(message, acknowledge);
  }

  #linked(connected: Connected): void {
    const { broker } = connected;
    this.#connected = { ...connected, sinceMs: this.#options.clock() };
    this.#lastUpstream = `${broker.host}:${broker.port}`;
    this.#arrivals.connected(connected.version);
    this.#options.measures.cascadeConnected.set(1);
    this.#options.measures.cascade.connections.inc();
    this.#status?.reset();
    this.#report();
  }

  #unlinked(): void {
    this.#arrivals.disconnected();
    this.#connected = undefined;
    this.#isUnreconciled = false;
    this.#reconciler?.disconnected();
    this.#onDrained();
    this.#options.measures.cascadeConnected.set(0);
  }

  #report(): void {
    const { queued, queuedBytes, oldestWaitingMs, forwardedUp, forwardedDown, refused } = this.state;
    const { cascade } = this.#options.measures;
    cascade.queuedBytes.set(queuedBytes);
    cascade.oldestWaitingSeconds.set(oldestWaitingMs / 1000);
    cascade.setAside.set(refused);
    if (this.#connected === undefined || this.#queue.isCautious) return;
    this.#status?.report({
      state: 'online',
      name: this.#options.name,
      version: packageVersion(),
      connectedSinceMs: this.#connected.sinceMs,
      queued,
      queuedBytes,
      oldestWaitingMs,
      forwardedUp,
      forwardedDown,
      refused,
    });
  }

  #stopResting(): void {
    if (this.#resting === undefined) return;
    clearImmediate(this.#resting as NodeJS.Immediate);
    clearTimeout(this.#resting as NodeJS.Timeout);
    this.#resting = undefined;
  }
}
