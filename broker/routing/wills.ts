/** Last wills: stored with the CONNECT, so that a crash loses none, and published once their client is lost. */
import type { Clock } from '../../domain/clock.ts';
import { PkiError } from '../../pki/errors.ts';
import type { PkiErrorCode } from '../../pki/errors.ts';
import { certificatesFromPem, certificatesToPem } from '../../pki/certificate.ts';
import type { Log } from '../../runtime/log.ts';
import { isRefused } from './hub.ts';
import type { Hub } from './hub.ts';
import type { Peer, PeerVerifier } from '../access/identity.ts';
import type { Measures } from '../measures.ts';
import type { Content, Qos } from './message.ts';
import { expiryOf } from './message.ts';
import type { RoleTable } from '../access/roles.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { StoredWill } from '../store/rows.ts';
import type { Store } from '../store/store.ts';
import { isAllowed } from '../access/tacs.ts';

/** What a CONNECT asks to be published. */
export interface WillRequest extends Omit<Content, 'expiresMs'> {
  readonly qos: Qos;
  readonly retain: boolean;
  /** From its publication on. */
  readonly expirySeconds: number | undefined;
  /** After the end of the connection, as long as the session lasts (MQTT 5 §3.1.3.2.2). */
  readonly delaySeconds: number;
}

export interface Will extends WillRequest {
  readonly peer: Peer;
  readonly connectedMs: number;
  /** When it is published unless the client comes back; undefined while it is connected. */
  dueMs: number | undefined;
}

type WillDenial = 'no_right' | PkiErrorCode;

/** Also for a session that is no more. */
type Owner = Pick<Session, 'identity' | 'clientId' | 'will'>;

export interface WillsOptions {
  readonly store: Store;
  readonly sessions: Sessions;
  readonly hub: Hub;
  readonly roles: RoleTable;
  readonly verifier: PeerVerifier;
  readonly measures: Measures;
  readonly log: Log;
  readonly clock: Clock;
}

export class Wills {
  readonly #options: WillsOptions;
  readonly #waiting = new Set<Owner>();

  /** Takes over what the store has, and publishes the wills of sessions that ended with the last process. */
  constructor(options: WillsOptions) {
    this.#options = options;
    options.sessions.whenEnded((session) => this.#sessionEnded(session));
    for (const stored of options.store.wills()) this.#restore(stored);
  }

  /** A client is connected: its will replaces one that waited, which is thereby never sent [MQTT-3.1.3-9]. */
  replace(session: Session, request: WillRequest | undefined, peer: Peer): void {
    this.discard(session);
    if (request === undefined) return;
    session.will = { ...request, peer, connectedMs: this.#options.clock(), dueMs: undefined };
    this.#store(session, session.will);
  }

  /** The client said goodbye [MQTT-3.1.2-10], [MQTT-3.14.4-3]. */
  discard(session: Owner): void {
    if (session.will === undefined) return;
    session.will = undefined;
    this.#waiting.delete(session);
    this.#options.store.deleteWill(session.identity, session.clientId);
  }

  /** The connection is gone and the session, if it lasts no longer, too; the client may yet come back in time. */
  connectionEnded(session: Session): void {
    const { will } = session;
    if (will === undefined) return;
    if (will.delaySeconds === 0) return this.#publish(session, will); // [MQTT-3.1.2-8]
    will.dueMs = this.#options.clock() + will.delaySeconds * 1000;
    this.#waiting.add(session);
    return this.#store(session, will);
  }

  /** Publishes what is due. Called every second. */
  sweep(): void {
    if (this.#waiting.size === 0) return;
    const nowMs = this.#options.clock();
    for (const session of this.#waiting) {
      const { will } = session;
      if (will?.dueMs === undefined) continue;
      // The clock may be set back, which must not delay it for as long.
      will.dueMs = Math.min(will.dueMs, nowMs + will.delaySeconds * 1000);
      if (will.dueMs <= nowMs) this.#publish(session, will);
    }
  }

  #sessionEnded(session: Session): void {
    if (session.will !== undefined) this.#publish(session, session.will);
  }

  #publish(session: Owner, will: Will): void {
    this.discard(session);
    const { hub, measures, log, clock } = this.#options;
    const { identity, clientId } = session;
    const denial = this.#denial(identity, will);
    if (denial !== undefined) return this.#denied({ identity, clientId, topic: will.topic }, denial);
    const { topic, payload, properties, qos, retain, expirySeconds } = will;
    const expiresMs = expiryOf(expirySeconds, clock());
    const content = { topic, payload, properties, expiresMs };
    const outcome = hub.publish({ ...content, qos, retain, origin: 'client' }, undefined);
    if (!isRefused(outcome)) return undefined;
    measures.refusals.inc({ reason: outcome });
    measures.dropped.inc({ reason: outcome });
    return log.warn({ identity, clientId, topic, reason: outcome }, 'will.refused');
  }

  #denied(facts: Pick<StoredWill, 'identity' | 'clientId' | 'topic'>, reason: WillDenial): void {
    const { measures, log } = this.#options;
    measures.denials.inc({ action: 'will', reason });
    log.warn({ ...facts, reason }, 'will.denied');
  }

  /** Whoever would be refused by now has nothing to say any more. */
  #denial(identity: string, { topic, peer }: Will): WillDenial | undefined {
    const { roles, verifier } = this.#options;
    if (!isAllowed(identity, 'publish', topic, roles)) return 'no_right';
    try {
      verifier.recheck(peer);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      return error.code;
    }
    return undefined;
  }

  #store(session: Owner, will: Will): void {
    const { identity, clientId } = session;
    const { peer, ...rest } = will;
    const chain = certificatesToPem(peer.verified.chain);
    this.#options.store.putWill({ identity, clientId, ...rest, chain });
  }

  #restore(stored: StoredWill): void {
    const { store, sessions, verifier, clock } = this.#options;
    const { identity, clientId, chain, dueMs, connectedMs, delaySeconds } = stored;
    let peer: Peer;
    try {
      peer = verifier.verifyChain(certificatesFromPem(chain), connectedMs);
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      this.#denied({ identity, clientId, topic: stored.topic }, error.code);
      store.deleteWill(identity, clientId);
      return;
    }
    const session = sessions.find(identity, clientId);
    const { topic, payload, properties, qos, retain, expirySeconds } = stored;
    const request = { topic, payload, properties, qos, retain, expirySeconds, delaySeconds };
    const will = { ...request, peer, connectedMs, dueMs: dueMs ?? clock() + delaySeconds * 1000 };
    if (session === undefined) {
      // It lasted as long as its connection, which ended with the last process.
      this.#publish({ identity, clientId, will }, will);
      return;
    }
    session.will = will;
    this.#waiting.add(session);
  }
}
