/** What one client publishes: aliases, rights, quotas, the exchange of QoS 2, and each answer (MQTT 3.1.1 §4.3, MQTT 5 §4.3). */
import { isUtf8 } from 'node:buffer';
import type { Clock } from '../../domain/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { receiveMaximum } from '../packets/connack.ts';
import type { Hub, PublishOutcome } from '../routing/hub.ts';
import type { BrokerLimits } from '../limits.ts';
import type { RefusalReason } from '../reasons.ts';
import type { Measures } from '../measures.ts';
import { expiryOf } from '../routing/message.ts';
import type { WireFault } from '../../mqtt/packets/packet-body.ts';
import { malformed, protocolError } from '../../mqtt/packets/packet-body.ts';
import type { AcknowledgementType, ProtocolVersion, PublishPacket } from '../packets/packets.ts';
import { failureFrom, reasonCode } from '../packets/reason-codes.ts';
import type { ReasonCode } from '../packets/reason-codes.ts';
import { boundsFault, isTopicName } from '../packets/topic-form.ts';
import type { RoleTable } from '../access/roles.ts';
import type { Session } from '../routing/session.ts';
import type { Store } from '../store/store.ts';
import { decide, isAllowed } from '../access/tacs.ts';

export interface PublisherContext {
  readonly store: Store;
  readonly hub: Hub;
  readonly roles: RoleTable;
  readonly limits: BrokerLimits;
  readonly deniedPublish: 'close' | 'drop';
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: Clock;
}

/** The connection, as far as a publisher is answered. */
export interface PublisherAnswers {
  readonly address: string | undefined;
  acknowledge(type: AcknowledgementType, packetId: number, code: ReasonCode, why?: string): void;
  refuse(fault: WireFault): void;
  close(reason: string): void;
}

/** Decisions on topics that one client published to; devices have a handful. */
const knownTopicsMax = 256;

export class Publisher {
  readonly #session: Session;
  readonly #version: ProtocolVersion;
  readonly #context: PublisherContext;
  readonly #answers: PublisherAnswers;
  readonly #rights = new Map<string, boolean>();
  /** What `#rights` follow from. */
  #roles: RoleTable | undefined;
  /** They last as long as the connection [MQTT-3.3.2-7]. */
  readonly #aliases = new Map<number, string>();
  readonly #receiveMaximum: number;
  #published = 0;
  /** QoS 1 messages whose acknowledgement has not left yet. */
  #unanswered = 0;

  constructor(
    session: Session,
    version: ProtocolVersion,
    context: PublisherContext,
    answers: PublisherAnswers,
  ) {
    this.#session = session;
    this.#version = version;
    this.#context = context;
    this.#answers = answers;
    this.#receiveMaximum = receiveMaximum(context.limits);
  }

  publish(packet: PublishPacket): void {
    this.#published++;
    const topic = this.#topicOf(packet);
    if (topic === undefined) return;
    const { qos, retain, packetId, payload, properties } = packet;
    // A repetition of what has been routed already [MQTT-4.3.3-2], [MQTT-4.3.3-10].
    if (qos === 2 && this.#session.incoming.has(packetId)) return this.#answer(packet, reasonCode.success);
    if (qos !== 0 && this.#isOverReceiveMaximum(qos)) return;
    if (!this.#mayPublish(topic)) return this.#deny(packet, topic);
    // MQTT 5 §3.3.2.3.2: a receiver may check what the publisher says of its payload.
    if (properties.payloadFormat === 1 && !isUtf8(payload)) {
      return this.#refuse(packet, topic, 'payload_format_invalid', reasonCode.payloadFormatInvalid);
    }
    const { clock, hub } = this.#context;
    const seconds = properties.messageExpirySeconds;
    const outcome = hub.publish(
      {
        topic,
        payload,
        properties: properties.forwarded,
        expiresMs: seconds === undefined ? undefined : expiryOf(seconds, clock()),
        qos,
        retain,
        origin: 'client',
      },
      this.#session,
    );
    return this.#conclude(packet, topic, outcome);
  }

  /** PUBREL: after the commit of this turn the identifier may be used again. */
  released(packetId: number): void {
    const isKnown = this.#session.incoming.delete(packetId);
    const { storedId } = this.#session;
    if (isKnown && storedId !== undefined) this.#context.store.deleteIncoming(storedId, packetId);
    // [MQTT-4.3.3-2], [MQTT-4.3.3-11]: also for an unknown one, so that the client can end its exchange.
    const code = isKnown ? reasonCode.success : reasonCode.packetIdentifierNotFound;
    this.#answers.acknowledge('pubcomp', packetId, code);
  }

  /** @returns how many messages came since it was asked last */
  takePublished(): number {
    const published = this.#published;
    this.#published = 0;
    return published;
  }

  /** All acknowledgements until now have left. */
  flushed(): void {
    this.#unanswered = 0;
  }

  #topicOf({ topic, properties: { topicAlias } }: PublishPacket): string | undefined {
    if (topicAlias === undefined) return topic;
    // [MQTT-3.3.2-8], [MQTT-3.3.2-9]
    if (topicAlias === 0 || topicAlias > this.#context.limits.topicAliasMax) {
      this.#answers.close('topic_alias_invalid');
      return undefined;
    }
    if (topic !== '') {
      this.#aliases.set(topicAlias, topic);
      return topic;
    }
    const known = this.#aliases.get(topicAlias);
    if (known === undefined)
      this.#answers.refuse(protocolError(`topic alias ${topicAlias} stands for nothing`));
    return known;
  }

  /** [MQTT-3.3.4-7]; MQTT 3.1.1 bounds nothing but what must be remembered. */
  #isOverReceiveMaximum(qos: 1 | 2): boolean {
    const { size } = this.#session.incoming;
    const open = this.#version === 5 ? size + this.#unanswered : qos === 2 ? size : 0;
    if (open < this.#receiveMaximum) return false;
    this.#overflow(this.#version === 5 ? 'receive_maximum' : 'incoming_qos2_max');
    return true;
  }

  #conclude(packet: PublishPacket, topic: string, outcome: PublishOutcome): void {
    switch (outcome) {
      case 'routed':
        return this.#answer(packet, reasonCode.success);
      case 'no_subscribers':
        return this.#answer(packet, reasonCode.noMatchingSubscribers);
      default:
        if (packet.qos === 0) return this.#lose(outcome, topic);
        if (this.#version !== 5) return this.#overflow(outcome, topic);
        return this.#refuse(packet, topic, outcome, reasonCode.quotaExceeded);
    }
  }

  /** After the commit of this turn the publisher learns that the message is in safe hands, or why it is not. */
  #answer({ qos, packetId }: PublishPacket, code: ReasonCode, why?: string): void {
    if (qos === 0) return;
    if (qos === 1) {
      this.#unanswered++;
      this.#answers.acknowledge('puback', packetId, code, why);
      return;
    }
    const { incoming, storedId } = this.#session;
    if (code < failureFrom && !incoming.has(packetId)) {
      incoming.add(packetId);
      if (storedId !== undefined) this.#context.store.addIncoming(storedId, packetId);
    }
    this.#answers.acknowledge('pubrec', packetId, code, why);
  }

  /** Nothing of the message is kept, and the client is told so, if its MQTT can be told. */
  #refuse(packet: PublishPacket, topic: string, reason: RefusalReason, code: ReasonCode): void {
    this.#report(reason, topic);
    this.#answer(packet, code, reason);
  }

  /**
   * [MQTT-3.3.5-2]: a server of MQTT 3.1.1 that does not authorise a PUBLISH acknowledges it as if, or closes the
   * connection. One of MQTT 5 says what it thinks.
   */
  #deny(packet: PublishPacket, topic: string): void {
    const { roles, limits, measures, log, deniedPublish } = this.#context;
    const { identity, clientId } = this.#session;
    // [MQTT-3.3.2-2], [MQTT-4.7.3-1], [MQTT-1.5.3-2]: whatever the rights, and whatever becomes of what is denied.
    if (!isTopicName(topic)) return this.#answers.refuse(malformed('a topic name that is none'));
    const fault = boundsFault(topic, limits);
    if (fault !== undefined) {
      if (this.#version !== 5) return this.#overflow(fault, topic);
      return this.#refuse(packet, topic, fault, reasonCode.topicNameInvalid); // §3.4.2.1
    }
    const decision = decide(identity, 'publish', topic, roles);
    const reason = decision.allowed ? 'no_right' : decision.reason;
    measures.denials.inc({ action: 'publish', reason });
    log.warn({ identity, clientId, address: this.#answers.address, topic, reason }, 'publish.denied');
    if (this.#version === 5) return this.#answer(packet, reasonCode.notAuthorized, reason);
    if (deniedPublish === 'close') return this.#answers.close('publish_denied');
    return this.#answer(packet, reasonCode.success);
  }

  /** Nobody waits for an answer, and whoever was to get it does not. */
  #lose(reason: RefusalReason, topic: string): void {
    this.#context.measures.dropped.inc({ reason });
    this.#report(reason, topic);
  }

  #overflow(reason: RefusalReason, topic?: string): void {
    this.#report(reason, topic);
    this.#answers.close(reason);
  }

  #report(reason: RefusalReason, topic: string | undefined): void {
    const { measures, log } = this.#context;
    const { identity, clientId } = this.#session;
    measures.refusals.inc({ reason });
    log.warn({ identity, clientId, address: this.#answers.address, topic, reason }, 'publish.refused');
  }

  #mayPublish(topic: string): boolean {
    const { roles, limits } = this.#context;
    if (roles !== this.#roles) {
      this.#roles = roles;
      this.#rights.clear();
    }
    const known = this.#rights.get(topic);
    if (known !== undefined) return known;
    const isTaken = isTopicName(topic) && boundsFault(topic, limits) === undefined;
    const allowed = isTaken && isAllowed(this.#session.identity, 'publish', topic, roles);
    if (this.#rights.size >= knownTopicsMax) this.#rights.clear();
    this.#rights.set(topic, allowed);
    return allowed;
  }
}
