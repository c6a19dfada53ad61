/** Decides on a CONNECT (MQTT 3.1.1 §3.1, MQTT 5 §3.1): who may begin a session, for how long, and with which will. */
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import type { BrokerLimits } from '../limits.ts';
import type { ConnectPacket } from '../packets/packets.ts';
import { boundsFault } from '../packets/topic-form.ts';
import { reasonCode } from '../packets/reason-codes.ts';
import type { ReasonCode } from '../packets/reason-codes.ts';
import type { RoleTable } from '../access/roles.ts';
import { neverExpires, sessionExpirySecondsMax } from '../routing/session.ts';
import type { SessionRefusal, Sessions, SessionTerms } from '../routing/sessions.ts';
import { boundsOf, holderOf, shareRefusal } from '../quota/shares.ts';
import type { Holdings, ShareRefusal } from '../quota/shares.ts';
import { decide } from '../access/tacs.ts';
import type { WillRequest } from '../routing/wills.ts';

export interface AcceptedConnect {
  readonly clientId: string;
  readonly terms: SessionTerms;
  readonly keepAliveSeconds: number;
  readonly will: WillRequest | undefined;
}

export type ConnectRefusal =
  | 'client_id_missing'
  | 'client_id_too_long'
  | 'will_denied'
  | 'will_topic_invalid'
  | 'will_malformed'
  | 'authentication_method'
  | ShareRefusal<'connections'>
  | SessionRefusal;

export interface RefusedConnect {
  readonly refusal: ConnectRefusal;
}

/** What a refused CONNECT is answered with: the return code of MQTT 3.1.1 §3.2.2.3, the reason code of MQTT 5 §3.2.2.2. */
export const connackCodes: Readonly<Record<ConnectRefusal, readonly [mqtt3: number, mqtt5: ReasonCode]>> = {
  client_id_missing: [2, reasonCode.clientIdentifierNotValid],
  client_id_too_long: [2, reasonCode.clientIdentifierNotValid],
  will_denied: [5, reasonCode.notAuthorized],
  will_topic_invalid: [5, reasonCode.topicNameInvalid],
  will_malformed: [5, reasonCode.payloadFormatInvalid],
  authentication_method: [5, reasonCode.badAuthenticationMethod],
  store_full: [3, reasonCode.quotaExceeded],
  sessions_max: [3, reasonCode.quotaExceeded],
  sessions_per_identity_max: [3, reasonCode.quotaExceeded],
  sessions_per_account_max: [3, reasonCode.quotaExceeded],
  sessions_per_master_account_max: [3, reasonCode.quotaExceeded],
  connections_per_identity_max: [3, reasonCode.quotaExceeded],
  connections_per_account_max: [3, reasonCode.quotaExceeded],
  connections_per_master_account_max: [3, reasonCode.quotaExceeded],
};

export interface ConnectCheckContext {
  readonly limits: BrokerLimits;
  readonly roles: RoleTable;
  readonly sessions: Sessions;
  /** Of everybody whose certificate was verified, the one that asks included. */
  readonly heldConnections: Holdings;
}

export function checkConnect(
  connect: ConnectPacket,
  identity: string,
  context: ConnectCheckContext,
): AcceptedConnect | RefusedConnect {
  const { limits, roles, sessions } = context;
  const { clean, version, properties } = connect;
  // [MQTT-4.12.0-1]: who a client is, its certificate says, and nothing else.
  if (properties.authenticationMethod !== undefined) return { refusal: 'authentication_method' };
  // [MQTT-3.1.3-8]; MQTT 3.1 §3.1: at least one character.
  if (connect.clientId === '' && (version === 3 || (!clean && version !== 5)))
    return { refusal: 'client_id_missing' };
  // [MQTT-3.1.3-6]: the server names a client that does not name itself.
  const clientId = connect.clientId === '' ? `auto-${randomUUID()}` : connect.clientId;
  if (clientId.length > limits.clientIdLengthMax) return { refusal: 'client_id_too_long' };
  const { will } = connect;
  if (will !== undefined && boundsFault(will.topic, limits) !== undefined)
    return { refusal: 'will_topic_invalid' };
  const right = will === undefined ? undefined : decide(identity, 'publish', will.topic, roles);
  if (right?.allowed === false) return { refusal: 'will_denied' };
  if (will?.properties.payloadFormat === 1 && !isUtf8(will.payload)) return { refusal: 'will_malformed' };
  const terms = { clean, expirySeconds: expirySecondsOf(connect, limits) };
  const refusal =
    connectionsRefusal(identity, clientId, context) ?? sessions.refusal(identity, clientId, terms);
  if (refusal !== undefined) return { refusal };
  const keepAliveSecondsMax = Math.min(limits.keepAliveSecondsMax, 65_535);
  const keepAliveSeconds =
    connect.keepAliveSeconds === 0
      ? keepAliveSecondsMax
      : Math.min(connect.keepAliveSeconds, keepAliveSecondsMax);
  return {
    clientId,
    terms,
    keepAliveSeconds,
    will: willOf(connect),
  };
}

function connectionsRefusal(
  identity: string,
  clientId: string,
  { limits, sessions, heldConnections }: ConnectCheckContext,
): ShareRefusal<'connections'> | undefined {
  // One that it takes over ends now, and must not keep its own client out until somebody notices that it is dead.
  const ended = sessions.find(identity, clientId)?.client === undefined ? 0 : -1;
  const share = heldConnections.exceededBy(ended, holderOf(identity), boundsOf(limits, 'connectionsMax'));
  return share && shareRefusal('connections', share);
}

function expirySecondsOf({ version, clean, properties }: ConnectPacket, limits: BrokerLimits): number {
  // MQTT 5 §3.1.2.11.2: none given means 0. Of 3.1.1, whose sessions have no end, the configuration alone decides.
  if (version !== 5) return clean ? 0 : neverExpires;
  return Math.min(properties.sessionExpirySeconds ?? 0, sessionExpirySecondsMax(limits));
}

function willOf({ will }: ConnectPacket): WillRequest | undefined {
  if (will === undefined) return undefined;
  const { topic, payload, qos, retain, properties } = will;
  return {
    topic,
    // Copies, for it outlives the chunk that it was read from.
    payload: Buffer.from(payload),
    properties: Buffer.from(properties.forwarded),
    qos,
    retain,
    expirySeconds: properties.messageExpirySeconds,
    delaySeconds: properties.willDelaySeconds ?? 0,
  };
}
