/** One client's connection: its packets in, its packets out, from the verified TLS session to its end. */
import { acceptance, refusal } from '../packets/connack.ts';
import { checkConnect, connackCodes } from './connect-check.ts';
import type { ConnectRefusal } from './connect-check.ts';
import { holdBack } from './hold-back.ts';
import type { HoldBackContext } from './hold-back.ts';
import { Intake } from './intake.ts';
import type { Outlet } from '../routing/delivery-queue.ts';
import { Mqtt5, mqtt3 } from '../packets/dialect.ts';
import type { Dialect } from '../packets/dialect.ts';
import { pingresp } from '../../mqtt/packets/encode.ts';
import type { Peer } from '../access/identity.ts';
import type { Content, Delivery, Message, Terms } from '../routing/message.ts';
import type { WireFault } from '../../mqtt/packets/packet-body.ts';
import { protocolError } from '../../mqtt/packets/packet-body.ts';
import type {
  AcknowledgementType,
  ConnectPacket,
  DisconnectPacket,
  IncomingPacket,
  SubscribePacket,
  UnsubscribePacket,
} from '../packets/packets.ts';
import { Outflow } from './outflow.ts';
import { Publisher } from './publisher.ts';
import type { PublisherAnswers, PublisherContext } from './publisher.ts';
import { failureFrom, reasonCode, reasonCodeOf } from '../packets/reason-codes.ts';
import type { ReasonCode } from '../packets/reason-codes.ts';
import { sessionExpirySecondsMax } from '../routing/session.ts';
import type { Client, ClientSession, Session } from '../routing/session.ts';
import type { SubscriberContext } from './subscriber.ts';
import { subscribe, unsubscribe } from './subscriber.ts';
import type { Transport } from './transport.ts';
import type { Wills } from '../routing/wills.ts';
import { holderOf } from '../quota/shares.ts';
import type { Holdings } from '../quota/shares.ts';
import type { Throttle } from '../quota/throttle.ts';

export interface ConnectionContext extends PublisherContext, SubscriberContext, HoldBackContext {
  readonly wills: Wills;
  readonly heldConnections: Holdings;
  /** Where clients are sent when this broker stops; undefined if there is no such place. */
  readonly serverReference: string | undefined;
  readonly onClosed: (connection: Connection) => void;
}

/** [MQTT-3.1.2-24]: nothing of it is done, for the client could not be told. */
const answerTooLarge: WireFault = {
  reason: 'packet_too_large',
  detail: 'the answer would be larger than the client takes',
};

/** What is retained and stored for a subscription that is asked for again and again counts, and an honest one is not held. */
const retainedPerMessage = 20;

/** What there is once a CONNECT was accepted. */
interface Conversation {
  readonly session: ClientSession;
  readonly dialect: Dialect;
  readonly publisher: Publisher;
  readonly throttle: Throttle;
}

export class Connection implements Client, Outlet, PublisherAnswers {
  readonly peer: Peer;
  readonly #transport: Transport;
  readonly #context: ConnectionContext;
  readonly #intake: Intake;
  readonly #outflow: Outflow;
  #conversation: Conversation | undefined;
  /** When silence counts as the end: first for CONNECT, then by keep-alive. */
  #silenceMs: number;
  #heardMs: number;
  #isClosed = false;
  /** What it has asked for since its rate was looked at, in messages. */
  #asked = 0;

  constructor(transport: Transport, peer: Peer, context: ConnectionContext) {
    this.peer = peer;
    this.#transport = transport;
    this.#context = context;
    context.heldConnections.add(holderOf(peer.identity), 1);
    this.#heardMs = context.monotonicMs();
    this.#silenceMs = context.limits.connectSeconds * 1000;
    const { turn } = context;
    this.#intake = new Intake({
      transport,
      turn,
      packetBytesMax: context.limits.connectBytesMax,
      // It may have more from before a reload, and is to get rid of them.
      filtersMax: () =>
        Math.max(
          context.limits.subscriptionsPerSessionMax,
          this.#conversation?.session.subscriptions.size ?? 0,
        ),
      onPacket: (packet) => {
        this.#receive(packet);
        return !this.#isClosed;
      },
      onRead: (bytes, fault) => this.#wasRead(bytes, fault),
    });
    this.#outflow = new Outflow({
      transport,
      turn,
      limits: context.limits,
      traffic: context.measures.traffic,
      onAnswered: () => this.#conversation?.publisher.flushed(),
      onFull: () => this.#intake.pause('output'),
      onRoom: () => this.#pump(),
    });
    transport.start({
      onBytes: (chunk) => turn.guard(() => this.#read(chunk)),
      onDrain: () => turn.guard(() => this.#drained()),
      onFault: (fault) => turn.guard(() => this.refuse(fault)),
      onError: (reason) => turn.guard(() => this.close(reason)),
      onClose: () => turn.guard(() => this.close('connection_lost')),
    });
  }

  get address(): string | undefined {
    return this.#transport.remoteAddress;
  }

  get clientId(): string | undefined {
    return this.#conversation?.session.clientId;
  }

  /** Whether it has been silent for longer than it may; a connection that has not said CONNECT counts from its start. */
  isSilent(nowMs: number): boolean {
    // Of one that is held back nobody knows: what it says is not read.
    return nowMs - this.#heardMs > this.#silenceMs && this.#conversation?.throttle.isHolding !== true;
  }

  get hasSession(): boolean {
    return this.#conversation !== undefined;
  }

  get isReady(): boolean {
    return this.#outflow.isReady;
  }

  send(delivery: Delivery, message: Message): boolean {
    return this.#writePublish(message, delivery, delivery.packetId, delivery.duplicate);
  }

  release(packetId: number, isKnown: boolean): void {
    this.acknowledge('pubrel', packetId, isKnown ? reasonCode.success : reasonCode.packetIdentifierNotFound);
  }

  later(): void {
    setImmediate(() => this.#context.turn.guard(() => this.#conversation?.session.queue.resume()));
  }

  sendNow(content: Content, terms: Terms): boolean {
    if (!this.isReady) return false;
    if (!this.#writePublish(content, terms, 0, false)) {
      this.#context.measures.dropped.inc({ reason: 'packet_too_large' });
    }
    return true;
  }

  acknowledge(type: AcknowledgementType, packetId: number, code: ReasonCode, why?: string): void {
    this.#outflow.answer((this.#conversation?.dialect ?? mqtt3).acknowledgement(type, packetId, code, why));
  }

  /** Ends the connection after what was already answered; publishes the will unless the client said goodbye. */
  close(reason: string): void {
    this.#end(reason, reason);
  }

  /** Ends the connection because of what the client sent. */
  refuse(fault: WireFault): void {
    if (this.#isClosed) return;
    const { measures, log } = this.#context;
    measures.refusals.inc({ reason: fault.reason });
    const { clientId, address } = this;
    log.warn({ identity: this.peer.identity, clientId, address, ...fault }, 'packet.refused');
    if (!this.hasSession) this.#refuseBeforeConnect(fault);
    this.#end(fault.reason, fault.detail);
  }

  /** Reads nothing until `false`, whatever else would let it. */
  hold(isHeld: boolean): void {
    if (isHeld) this.#intake.pause('hold');
    else this.#intake.resume('hold');
  }

  /** Ends the connection at once, with nothing more written: the store failed, and no answer would be true. */
  abort(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#context.measures.disconnects.inc({ reason });
    this.#release();
    this.#outflow.abort();
  }

  /** @returns false if the client takes no packet so large */
  #writePublish(content: Content, terms: Terms, packetId: number, duplicate: boolean): boolean {
    const { clock, measures } = this.#context;
    const dialect = this.#conversation?.dialect ?? mqtt3;
    const nowMs = content.expiresMs === undefined ? 0 : clock();
    const header = dialect.publishHeader(content, terms, packetId, duplicate, nowMs);
    if (header === undefined) return false;
    // At QoS 2 it may not come twice, so it must be known to have been there [MQTT-4.3.3-1].
    this.#outflow.deliver(header, content.payload, terms.qos === 2);
    measures.traffic.sent++;
    measures.traffic.sentPayloadBytes += content.payload.length;
    return true;
  }

  #read(chunk: Buffer): void {
    if (this.#isClosed) return;
    // Whoever sends a CONNECT byte by byte has no more time for it than others.
    if (this.hasSession) this.#heardMs = this.#context.monotonicMs();
    this.#context.measures.traffic.bytesReceived += chunk.length;
    this.#intake.read(chunk);
  }

  #wasRead(bytes: number, fault: WireFault | undefined): void {
    if (fault !== undefined) return this.refuse(fault);
    const conversation = this.#conversation;
    const asked = this.#asked;
    this.#asked = 0;
    return conversation?.throttle.spend(conversation.publisher.takePublished() + asked, bytes);
  }

  /** @param why - for the client, if it wants to know */
  #end(reason: string, why: string): void {
    if (this.#isClosed) return;
    const { sessions, wills, measures, log } = this.#context;
    const conversation = this.#conversation;
    this.#sayWhy(reason, why);
    this.#isClosed = true;
    this.#conversation = undefined;
    measures.disconnects.inc({ reason });
    log.info(
      {
        identity: this.peer.identity,
        clientId: conversation?.session.clientId,
        address: this.address,
        reason,
      },
      'connection.closed',
    );
    this.#release(conversation);
    this.#outflow.end();
    if (conversation === undefined) return;
    sessions.close(conversation.session);
    wills.connectionEnded(conversation.session);
  }

  #release(conversation = this.#conversation): void {
    conversation?.throttle.end();
    this.#intake.end();
    this.#context.heldConnections.add(holderOf(this.peer.identity), -1);
    this.#context.onClosed(this);
  }

  /** [MQTT-4.13.1-1], [MQTT-3.14.0-1]: nobody is told before the CONNACK. */
  #sayWhy(reason: string, why: string): void {
    const reference = reason === 'broker_stopping' ? this.#context.serverReference : undefined;
    const code = reference === undefined ? reasonCodeOf(reason) : reasonCode.useAnotherServer; // MQTT 5 §4.11
    if (code === undefined) return;
    const farewell = this.#conversation?.dialect.disconnect(code, why, reference);
    if (farewell !== undefined) this.#outflow.say(farewell);
  }

  #refuseBeforeConnect({ reason, detail }: WireFault): void {
    const { version } = this.#intake;
    const code = reasonCodeOf(reason);
    // [MQTT-3.1.2-2]: an unacceptable protocol level is answered before the end; MQTT 5 §4.13: so is any CONNECT of it.
    if (reason === 'unsupported_version')
      this.#outflow.say(refusal(4, [1, reasonCode.unsupportedVersion], detail));
    else if (version === 5 && code !== undefined) this.#outflow.say(refusal(version, [0, code], detail));
  }

  #receive(packet: IncomingPacket): void {
    const conversation = this.#conversation;
    this.#context.measures.traffic.packetsReceived++;
    if (conversation === undefined) {
      if (packet.type === 'connect') this.#connect(packet);
      else this.refuse({ reason: 'unexpected_packet', detail: `${packet.type} before CONNECT` }); // [MQTT-3.1.0-1]
      return;
    }
    const { session, publisher } = conversation;
    switch (packet.type) {
      case 'publish':
        return publisher.publish(packet);
      case 'puback':
      case 'pubrec':
      case 'pubcomp':
        return this.#answered(conversation, packet.type, packet.packetId, packet.reasonCode);
      case 'pubrel':
        return publisher.released(packet.packetId);
      case 'subscribe':
        return this.#subscribe(conversation, packet);
      case 'unsubscribe':
        return this.#unsubscribe(conversation, packet);
      case 'pingreq':
        return this.#outflow.say(pingresp);
      case 'disconnect':
        return this.#disconnected(session, packet);
      case 'connect':
        return this.refuse({ reason: 'unexpected_packet', detail: 'a second CONNECT' }); // [MQTT-3.1.0-2]
      case 'auth':
        // [MQTT-4.12.0-7]: no method was agreed on.
        return this.refuse(protocolError('AUTH without an authentication method'));
    }
  }

  #answered(
    { session: { queue, replay } }: Conversation,
    type: 'puback' | 'pubrec' | 'pubcomp',
    packetId: number,
    code: number,
  ): void {
    if (queue.isWrongAnswer(type, packetId)) {
      return this.refuse(protocolError(`${type} to another exchange`)); // [MQTT-4.8.0-1]; [MQTT-4.3.2-4], [MQTT-4.3.3-8]
    }
    if (type === 'puback') queue.acknowledged(packetId);
    else if (type === 'pubcomp') queue.completed(packetId);
    else if (code >= failureFrom) queue.refused(packetId);
    else queue.received(packetId);
    return replay?.step();
  }

  #connect(connect: ConnectPacket): void {
    const { limits, sessions, wills, log } = this.#context;
    const { identity } = this.peer;
    const checked = checkConnect(connect, identity, this.#context);
    if ('refusal' in checked) return this.#refuseConnect(connect, checked.refusal);
    const { clientId, terms } = checked;
    const { session, present } = sessions.open(identity, clientId, this, terms);
    const dialect = connect.version === 5 ? new Mqtt5(connect) : mqtt3;
    const publisher = new Publisher(session, dialect.version, this.#context, this);
    const throttle = holdBack(this, clientId, this.#context, this.#intake);
    this.#conversation = { session, dialect, publisher, throttle };
    wills.replace(session, checked.will, this.peer);
    this.#heardMs = this.#context.monotonicMs();
    this.#silenceMs = checked.keepAliveSeconds * 1500; // [MQTT-3.1.2-24], [MQTT-3.1.2-22]
    this.#intake.packetBytesMax = limits.packetBytesMax;
    log.info(
      {
        identity,
        clientId,
        address: this.address,
        version: connect.version,
        sessionPresent: present,
        queued: session.queue.messages,
      },
      'session.opened',
    );
    const answer = acceptance(connect, checked, { present, identity }, limits);
    if (answer === undefined) return this.#end('client_packet_size', 'the client takes no packet so large');
    this.#outflow.say(answer);
    session.queue.attach(this, dialect.receiveMaximum);
  }

  #refuseConnect({ clientId, version, properties }: ConnectPacket, reason: ConnectRefusal): void {
    const { measures, log } = this.#context;
    measures.refusals.inc({ reason });
    if (reason === 'will_denied') measures.denials.inc({ action: 'will', reason: 'no_right' });
    const { identity } = this.peer;
    const facts = { identity, clientId: clientId.slice(0, 64), address: this.address, reason };
    log.warn(facts, 'session.refused');
    this.#outflow.say(refusal(version, connackCodes[reason], reason, properties.maximumPacketSize));
    this.close(reason);
  }

  #subscribe({ session, dialect }: Conversation, packet: SubscribePacket): void {
    if (packet.subscriptions.length > dialect.filtersMax) return this.refuse(answerTooLarge);
    const outcome = subscribe(session, packet, this.#context);
    if ('reason' in outcome) return this.refuse(outcome);
    this.#outflow.say(dialect.suback(packet.packetId, outcome.codes)); // [MQTT-3.8.4-5], [MQTT-3.8.4-6]
    const queuedBefore = session.queue.messages;
    outcome.replay();
    const queued = session.storedId === undefined ? 0 : session.queue.messages - queuedBefore;
    this.#asked += packet.subscriptions.length + Math.max(0, queued) / retainedPerMessage;
  }

  #unsubscribe({ session, dialect }: Conversation, { packetId, filters }: UnsubscribePacket): void {
    if (filters.length > dialect.filtersMax) return this.refuse(answerTooLarge);
    this.#asked += filters.length;
    return this.#outflow.say(dialect.unsuback(packetId, unsubscribe(session, filters, this.#context)));
  }

  #disconnected(session: Session, { reasonCode: code, properties }: DisconnectPacket): void {
    const { sessions, wills, limits, log } = this.#context;
    const { sessionExpirySeconds } = properties;
    if (sessionExpirySeconds !== undefined) {
      if (session.expirySeconds === 0 && sessionExpirySeconds > 0) {
        return this.refuse(protocolError('a session that was to end with its connection cannot outlive it')); // §3.14.2.2.2
      }
      sessions.changeExpiry(session, Math.min(sessionExpirySeconds, sessionExpirySecondsMax(limits)));
    }
    if (code === reasonCode.success) {
      wills.discard(session); // [MQTT-3.14.4-3]
      return this.close('disconnected');
    }
    const { identity, clientId } = session;
    const detail = properties.reasonString?.slice(0, 256);
    log.info({ identity, clientId, reasonCode: code, detail }, 'client.disconnected');
    return this.close('disconnected_with_reason');
  }

  #drained(): void {
    this.#intake.resume('output');
    this.#pump();
  }

  /** There is room: what is queued goes first, then what is retained and was asked for. */
  #pump(): void {
    this.#conversation?.session.queue.pump();
    this.#conversation?.session.replay?.step();
  }
}
