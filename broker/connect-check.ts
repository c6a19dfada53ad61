/** Decides on a CONNECT (MQTT 3.1.1 §3.1): who may begin a session, and with which will. */
import { randomUUID } from 'node:crypto';
import type { BrokerLimits } from './limits.ts';
import type { ConnackCode } from './encode.ts';
import { connackCode } from './encode.ts';
import type { Publication } from './message.ts';
import type { ConnectPacket } from './packets.ts';
import type { RoleTable } from './roles.ts';
import type { SessionRefusal, Sessions } from './sessions.ts';
import { decide } from './tacs.ts';

export interface AcceptedConnect {
  readonly clientId: string;
  readonly kind: 'clean' | 'stored';
  /** Silence after which the client counts as gone [MQTT-3.1.2-24]. */
  readonly silenceMs: number;
  readonly will: Publication | undefined;
}

export type ConnectRefusal = 'client_id_missing' | 'client_id_too_long' | 'will_denied' | SessionRefusal;

export interface RefusedConnect {
  readonly code: ConnackCode;
  readonly refusal: ConnectRefusal;
}

export function checkConnect(
  connect: ConnectPacket,
  identity: string,
  context: { readonly limits: BrokerLimits; readonly roles: RoleTable; readonly sessions: Sessions },
): AcceptedConnect | RefusedConnect {
  const { limits, roles, sessions } = context;
  const kind = connect.clean ? 'clean' : 'stored';
  if (connect.clientId === '' && kind === 'stored') {
    return { code: connackCode.identifierRejected, refusal: 'client_id_missing' }; // [MQTT-3.1.3-8]
  }
  // [MQTT-3.1.3-6]: the server names a client that does not name itself.
  const clientId = connect.clientId === '' ? `auto-${randomUUID()}` : connect.clientId;
  if (clientId.length > limits.clientIdLengthMax) {
    return { code: connackCode.identifierRejected, refusal: 'client_id_too_long' };
  }
  const will = willOf(connect);
  if (will !== undefined && !decide(identity, 'publish', will.topic, roles).allowed) {
    return { code: connackCode.notAuthorized, refusal: 'will_denied' };
  }
  const refusal = sessions.refusal(identity, clientId);
  if (refusal !== undefined) return { code: connackCode.serverUnavailable, refusal };
  const keepAliveSeconds =
    connect.keepAliveSeconds === 0
      ? limits.keepAliveSecondsMax
      : Math.min(connect.keepAliveSeconds, limits.keepAliveSecondsMax);
  return { clientId, kind, silenceMs: keepAliveSeconds * 1500, will };
}

function willOf({ will }: ConnectPacket): Publication | undefined {
  if (will === undefined) return undefined;
  const { topic, payload, qos, retain } = will;
  // A copy, for it outlives the chunk that it was read from.
  return { topic, payload: Buffer.from(payload), qos, retain, origin: 'client' };
}
