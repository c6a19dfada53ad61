/** One client's connection: its packets in, its packets out, from the verified TLS session to its end (MQTT 3.1.1). */
import type { TLSSocket } from 'node:tls';
import type { Log } from '../runtime/log.ts';
import { checkConnect } from './connect-check.ts';
import type { Outlet } from './delivery-queue.ts';
import {
  connackCode,
  encodeAcknowledgement,
  encodeConnack,
  encodePublishHeader,
  encodeSuback,
  encodeUnsuback,
  pingresp,
  subscriptionFailure,
} from './encode.ts';
import type { ConnackCode } from './encode.ts';
import type { Hub } from './hub.ts';
import type { Peer } from './identity.ts';
import type { BrokerLimits } from './limits.ts';
import type { Measures } from './measures.ts';
import type { Delivery, Message, Publication } from './message.ts';
import type { RoleTable } from './roles.ts';
import type { Client, Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { Store } from './store.ts';
import { decide } from './tacs.ts';
import type { Flushable, Turn } from './turn.ts';
import type { WireFault } from './packet-body.ts';
import type { ConnectPacket, IncomingPacket, PublishPacket, SubscriptionRequest } from './packets.ts';
import { PacketReader } from './wire.ts';

export interface ConnectionContext {
  readonly store: Store;
  readonly turn: Turn;
  readonly sessions: Sessions;
  readonly hub: Hub;
  readonly roles: RoleTable;
  readonly limits: BrokerLimits;
  readonly deniedPublish: 'close' | 'drop';
  readonly measures: Measures;
  readonly log: Log;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
  readonly onClosed: (connection: Connection) => void;
}

/** A client that does not read its last packets is not waited for. */
const lingerMs = 2000;
/** Decisions on topics that one client published to; devices have a handful. */
const knownTopicsMax = 256;

export class Connection implements Client, Outlet, Flushable {
  readonly peer: Peer;
  readonly #socket: TLSSocket;
  readonly #context: ConnectionContext;
  readonly #reader: PacketReader;
  #session: Session | undefined;
  #will: Publication | undefined;
  /** When silence counts as the end: first for CONNECT, then by keep-alive. */
  #silenceMs: number;
  #heardMs: number;
  #out: Buffer[] = [];
  #outBytes = 0;
  #isPausedForOutput = false;
  #isClosed = false;
  readonly #publishRights = new Map<string, boolean>();

  constructor(socket: TLSSocket, peer: Peer, context: ConnectionContext) {
    this.peer = peer;
    this.#socket = socket;
    this.#context = context;
    this.#heardMs = context.monotonicMs();
    this.#silenceMs = context.limits.connectSeconds * 1000;
    this.#reader = new PacketReader(context.limits.connectBytesMax, (packet) => {
      this.#receive(packet);
      return !this.#isClosed;
    });
    const { turn } = context;
    socket.on('data', (chunk: Buffer) => turn.guard(() => this.#read(chunk)));
    socket.on('drain', () => turn.guard(() => this.#drained()));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      turn.guard(() => this.close(error.code ?? 'socket_error')),
    );
    socket.once('close', () => turn.guard(() => this.close('connection_lost')));
  }

  get clientId(): string | undefined {
    return this.#session?.clientId;
  }

  /** Whether it has been silent for longer than it may; a connection that has not said CONNECT counts from its start. */
  isSilent(nowMs: number): boolean {
    return nowMs - this.#heardMs > this.#silenceMs;
  }

  get hasSession(): boolean {
    return this.#session !== undefined;
  }

  get isReady(): boolean {
    return !this.#isClosed && this.#pendingBytes() < this.#context.limits.outputBytesMax;
  }

  send(delivery: Delivery, message: Message): void {
    const { qos, retain, duplicate, packetId } = delivery;
    const { topic, payload } = message;
    this.#write(
      encodePublishHeader({ topic, payloadBytes: payload.length, qos, retain, duplicate, packetId }),
    );
    this.#write(payload);
    this.#context.measures.traffic.sent++;
  }

  release(packetId: number): void {
    this.#write(encodeAcknowledgement('pubrel', packetId));
  }

  sendNow(topic: string, payload: Buffer, retain: boolean): boolean {
    if (!this.isReady) return false;
    const header = {
      topic,
      payloadBytes: payload.length,
      qos: 0,
      retain,
      duplicate: false,
      packetId: 0,
    } as const;
    this.#write(encodePublishHeader(header));
    this.#write(payload);
    this.#context.measures.traffic.sent++;
    return true;
  }

  /** Writes all that this turn answered, once, after its commit. */
  flush(): void {
    if (this.#outBytes > 0 && !this.#socket.destroyed) {
      const bytes =
        this.#out.length === 1 ? (this.#out[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#out, this.#outBytes);
      this.#out = [];
      this.#outBytes = 0;
      const isTaken = this.#socket.write(bytes);
      // One that does not read its acknowledgements is not read from either.
      if (this.#socket.writableLength >= this.#context.limits.outputBytesMax) {
        this.#isPausedForOutput = true;
        this.#socket.pause();
      } else if (isTaken) {
        // The turn's output alone may have stopped the delivery; no drain event follows then.
        this.#context.turn.guard(() => this.#session?.queue.pump());
      }
    }
    if (this.#isClosed) this.#socket.destroySoon();
  }

  /** Ends the connection after what was already answered; publishes the will unless the client said goodbye. */
  close(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { turn, sessions, measures, log, onClosed } = this.#context;
    const session = this.#session;
    this.#session = undefined;
    measures.disconnects.inc({ reason });
    log.info({ identity: this.peer.identity, clientId: session?.clientId, reason }, 'connection.closed');
    onClosed(this);
    this.#socket.setTimeout(lingerMs, () => this.#socket.destroy());
    turn.flushLater(this);
    if (session === undefined) return;
    sessions.close(session);
    this.#publishWill();
  }

  /** Ends the connection at once, with nothing more written: the store failed, and no answer would be true. */
  abort(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#out = [];
    this.#outBytes = 0;
    this.#context.measures.disconnects.inc({ reason });
    this.#context.onClosed(this);
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#isClosed) return;
    this.#heardMs = this.#context.monotonicMs();
    const fault = this.#reader.push(chunk);
    if (fault !== undefined) this.#refuse(fault);
  }

  #refuse(fault: WireFault): void {
    const { measures, log } = this.#context;
    measures.refusals.inc({ reason: fault.reason });
    log.warn({ identity: this.peer.identity, clientId: this.clientId, ...fault }, 'packet.refused');
    // [MQTT-3.1.2-2]: an unacceptable protocol level is answered before the end.
    if (fault.reason === 'unsupported_version' && !this.hasSession) {
      this.#write(encodeConnack(connackCode.unacceptableProtocol, false));
    }
    this.close(fault.reason);
  }

  #receive(packet: IncomingPacket): void {
    const session = this.#session;
    if (session === undefined) {
      if (packet.type === 'connect') this.#connect(packet);
      else this.#refuse({ reason: 'unexpected_packet', detail: `${packet.type} before CONNECT` }); // [MQTT-3.1.0-1]
      return;
    }
    switch (packet.type) {
      case 'publish':
        return this.#publish(session, packet);
      case 'puback':
        return session.queue.acknowledged(packet.packetId);
      case 'pubrec':
        return session.queue.received(packet.packetId);
      case 'pubcomp':
        return session.queue.completed(packet.packetId);
      case 'pubrel':
        return this.#released(session, packet.packetId);
      case 'subscribe':
        return this.#subscribe(session, packet.packetId, packet.subscriptions);
      case 'unsubscribe':
        for (const filter of packet.filters) this.#context.sessions.unsubscribe(session, filter);
        return this.#write(encodeUnsuback(packet.packetId));
      case 'pingreq':
        return this.#write(pingresp);
      case 'disconnect':
        this.#will = undefined; // [MQTT-3.14.4-3]
        return this.close('disconnected');
      case 'auth':
      case 'connect':
        return this.#refuse({ reason: 'unexpected_packet', detail: 'a second CONNECT' }); // [MQTT-3.1.0-2]
    }
  }

  #connect(connect: ConnectPacket): void {
    if (connect.version === 5) return this.#refuse({ reason: 'unsupported_version', detail: 'MQTT 5' });
    const { limits, sessions, log } = this.#context;
    const { identity } = this.peer;
    const checked = checkConnect(connect, identity, this.#context);
    if ('refusal' in checked) return this.#refuseConnect(checked.code, checked.refusal, connect.clientId);
    const { session, present } = sessions.open(identity, checked.clientId, this, checked.kind);
    this.#session = session;
    this.#will = checked.will;
    this.#silenceMs = checked.silenceMs;
    this.#reader.packetBytesMax = limits.packetBytesMax;
    log.info(
      { identity, clientId: session.clientId, sessionPresent: present, queued: session.queue.messages },
      'session.opened',
    );
    this.#write(encodeConnack(connackCode.accepted, present)); // [MQTT-3.2.2-2]
    session.queue.attach(this);
  }

  #refuseConnect(code: ConnackCode, reason: string, clientId: string): void {
    const { measures, log } = this.#context;
    measures.refusals.inc({ reason });
    if (reason === 'will_denied') measures.denials.inc({ action: 'will' });
    log.warn({ identity: this.peer.identity, clientId: clientId.slice(0, 64), reason }, 'session.refused');
    this.#write(encodeConnack(code, false)); // [MQTT-3.2.2-4], [MQTT-3.2.2-5]
    this.close(reason);
  }

  #publish(session: Session, packet: PublishPacket): void {
    const { topic, payload, qos, retain, packetId } = packet;
    if (!this.#mayPublish(topic)) return this.#deny(session, packet);
    if (qos === 2) {
      // A repetition of what has been routed already [MQTT-4.3.3-2].
      if (session.incoming.has(packetId)) return this.#write(encodeAcknowledgement('pubrec', packetId));
      if (session.incoming.size >= this.#context.limits.incomingQos2Max)
        return this.#overflow('incoming_qos2_max');
    }
    const refusal = this.#context.hub.publish({ topic, payload, qos, retain, origin: 'client' });
    if (refusal !== undefined) {
      if (qos === 0) return this.#context.measures.dropped.inc({ reason: refusal });
      return this.#overflow(refusal, topic);
    }
    return this.#acknowledge(session, packet);
  }

  /** After the commit of this turn the publisher learns that the message is in safe hands. */
  #acknowledge(session: Session, { qos, packetId }: PublishPacket): void {
    if (qos === 1) return this.#write(encodeAcknowledgement('puback', packetId));
    if (qos === 0) return undefined;
    session.incoming.add(packetId);
    if (session.storedId !== undefined) this.#context.store.addIncoming(session.storedId, packetId);
    return this.#write(encodeAcknowledgement('pubrec', packetId));
  }

  #released(session: Session, packetId: number): void {
    if (session.incoming.delete(packetId) && session.storedId !== undefined) {
      this.#context.store.deleteIncoming(session.storedId, packetId);
    }
    this.#write(encodeAcknowledgement('pubcomp', packetId)); // [MQTT-4.3.3-2]: also for an unknown one
  }

  /** [MQTT-3.3.5-2]: a server that does not authorise a PUBLISH acknowledges it as if, or closes the connection. */
  #deny(session: Session, packet: PublishPacket): void {
    const { roles, measures, log, deniedPublish } = this.#context;
    const { identity } = this.peer;
    const decision = decide(identity, 'publish', packet.topic, roles);
    const reason = decision.allowed ? undefined : decision.reason;
    measures.denials.inc({ action: 'publish' });
    log.warn({ identity, clientId: session.clientId, topic: packet.topic, reason }, 'publish.denied');
    if (deniedPublish === 'close') return this.close('publish_denied');
    return this.#acknowledge(session, packet);
  }

  #overflow(reason: string, topic?: string): void {
    const { measures, log } = this.#context;
    measures.refusals.inc({ reason });
    log.warn({ identity: this.peer.identity, clientId: this.clientId, topic, reason }, 'publish.refused');
    this.close(reason);
  }

  #mayPublish(topic: string): boolean {
    const known = this.#publishRights.get(topic);
    if (known !== undefined) return known;
    const { allowed } = decide(this.peer.identity, 'publish', topic, this.#context.roles);
    if (this.#publishRights.size >= knownTopicsMax) this.#publishRights.clear();
    this.#publishRights.set(topic, allowed);
    return allowed;
  }

  #subscribe(session: Session, packetId: number, asked: readonly SubscriptionRequest[]): void {
    const { hub, limits } = this.#context;
    if (asked.length > limits.subscriptionsPerSessionMax) {
      return this.#refuse({ reason: 'malformed_packet', detail: `SUBSCRIBE with ${asked.length} filters` });
    }
    const granted = asked.map((subscription) => this.#grant(session, subscription));
    this.#write(encodeSuback(packetId, granted)); // [MQTT-3.8.4-5]: one code for each filter, in order
    for (const [index, { filter, qos }] of asked.entries()) {
      if (granted[index] !== subscriptionFailure) hub.replay(session, filter, qos);
    }
    return undefined;
  }

  /** @returns the granted QoS, or 0x80; a filter that is not granted is neither kept nor stored */
  #grant(session: Session, { filter, qos }: SubscriptionRequest): number {
    const { roles, limits, measures, log, sessions } = this.#context;
    const { identity } = this.peer;
    const decision = decide(identity, 'subscribe', filter, roles);
    const isOneMore = !session.subscriptions.has(filter);
    const isFull = isOneMore && session.subscriptions.size >= limits.subscriptionsPerSessionMax;
    if (decision.allowed && !isFull) {
      sessions.subscribe(session, filter, qos);
      return qos;
    }
    const reason = decision.allowed ? 'subscriptions_max' : decision.reason;
    measures.denials.inc({ action: 'subscribe' });
    log.warn({ identity, clientId: session.clientId, filter, reason }, 'subscription.denied');
    return subscriptionFailure;
  }

  #publishWill(): void {
    const will = this.#will;
    this.#will = undefined;
    if (will === undefined || !this.#mayPublish(will.topic)) return;
    const refusal = this.#context.hub.publish(will);
    if (refusal !== undefined) this.#context.measures.dropped.inc({ reason: refusal });
  }

  #drained(): void {
    if (this.#isPausedForOutput) {
      this.#isPausedForOutput = false;
      this.#socket.resume();
    }
    this.#session?.queue.pump();
  }

  #pendingBytes(): number {
    return this.#outBytes + this.#socket.writableLength;
  }

  #write(bytes: Buffer): void {
    this.#out.push(bytes);
    this.#outBytes += bytes.length;
    this.#context.turn.flushLater(this);
  }
}
