/** Sends a request for certificates over a connection of its own until it is answered. */
import { hash } from 'node:crypto';
import { readSignedContent } from '../cms/signed-content.ts';
import { CmsError } from '../cms/errors.ts';
import type { Clock } from '../domain/clock.ts';
import { decodeEnrolmentReply, EnrolmentMessageError, enrolmentServiceName } from '../domain/enrolment.ts';
import type { BrokerAddress, EnrolmentReply } from '../domain/enrolment.ts';
import { enrolmentTopic } from '../domain/topic.ts';
import { openLink } from '../mqtt/link.ts';
import type { LinkOptions } from '../mqtt/link.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { TlsIdentity } from '../pki/identity.ts';
import type { Log } from '../runtime/log.ts';
import type { BackoffLimits } from '../runtime/retry.ts';
import { EnrolmentError } from './errors.ts';
import type { PendingRequest } from './key-directory.ts';
import { onlySigner, verifyMessage } from './signed-message.ts';

export interface ExchangeOptions {
  readonly broker: BrokerAddress;
  /** Any of these instead of the broker's one name. */
  readonly brokerName?: string | readonly string[];
  /** As the link asks it; a device that has no keys yet has no lists either. */
  readonly requireUnrevoked?: LinkOptions['requireUnrevoked'];
  /** To connect with; its common name is who asks. */
  readonly identity: TlsIdentity;
  readonly pending: PendingRequest;
  /** Of the E2E PKI, pinned: whose answer is believed. */
  readonly roots: readonly Certificate[];
  /** How long to wait for the last word. Default: for ever. */
  readonly timeoutMs?: number;
  /** Gives the waiting up. */
  readonly signal?: AbortSignal;
  /** Told that somebody has to approve it first. */
  readonly onWaiting?: (reply: EnrolmentReply) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly reconnect?: BackoffLimits;
}

/** An answer may be lost where no session waits for it, and a question too; both are asked for again. */
const resendMs = 15_000;

/**
 * @returns the last word: `issued` or `refused`
 * @throws EnrolmentError `enrolment.unanswered`
 */
export async function exchange(options: ExchangeOptions): Promise<EnrolmentReply> {
  const { broker, identity, pending, timeoutMs, signal, onWaiting, log, reconnect } = options;
  const topic = enrolmentTopic(identity.commonName);
  if (topic === undefined) throw new TypeError(`${identity.commonName} is nobody who is enrolled`);
  const timers: NodeJS.Timeout[] = [];
  let close = (): Promise<void> => Promise.resolve();
  let giveUp = (): void => undefined;
  try {
    return await new Promise<EnrolmentReply>((resolve, reject) => {
      const send = (): void => {
        // It is kept and sent again by the link; what is not acknowledged when it closes is no fault.
        link.publish(topic, pending.message, { qos: 1 }).catch(() => undefined);
      };
      const link = openLink({
        broker,
        brokerName: options.brokerName ?? broker.name,
        identity,
        requireUnrevoked: options.requireUnrevoked,
        clientId: `enrolment-of-${identity.commonName}`,
        cleanSession: true,
        subscriptions: [{ filter: `${topic}/reply`, qos: 1 }],
        onSubscribed: send, // from now on no answer is missed
        onMessage: ({ payload }, acknowledge) => {
          acknowledge();
          const reply = readReply(payload, options);
          if (reply?.outcome === 'waiting') onWaiting?.(reply);
          else if (reply !== undefined) resolve(reply);
        },
        log,
        ...(reconnect === undefined ? {} : { reconnect }),
      });
      close = () => link.close();
      timers.push(setInterval(() => link.connected && send(), resendMs));
      giveUp = () =>
        reject(new EnrolmentError('enrolment.unanswered', 'nobody waits for the answer any more'));
      signal?.addEventListener('abort', giveUp);
      if (signal?.aborted === true) giveUp();
      if (timeoutMs === undefined) return;
      timers.push(setTimeout(() => reject(unanswered(broker, link.connected, timeoutMs)), timeoutMs));
    });
  } finally {
    timers.forEach(clearTimeout);
    signal?.removeEventListener('abort', giveUp);
    await close();
  }
}

/** @returns undefined for what is not an answer to this request by whoever certifies */
function readReply(
  payload: Buffer,
  { pending, roots, clock, log }: ExchangeOptions,
): EnrolmentReply | undefined {
  if (payload.length === 0) return undefined; // an earlier answer was taken back
  try {
    const message = verifyMessage(payload, { roots, atMs: clock() });
    const { commonName } = onlySigner(message);
    if (commonName !== enrolmentServiceName) {
      throw new EnrolmentError('enrolment.untrusted', `an answer that ${commonName} signed`);
    }
    const reply = decodeEnrolmentReply(message.content);
    const digest = hash('sha256', readSignedContent(pending.message).content, 'buffer');
    const isOurs = reply.id === pending.request.id && digest.equals(reply.requestDigest);
    return isOurs ? reply : undefined; // to an earlier request
  } catch (error) {
    const isTheirs =
      error instanceof EnrolmentError ||
      error instanceof EnrolmentMessageError ||
      error instanceof CmsError ||
      error instanceof PkiError;
    if (!isTheirs) throw error;
    log.warn({ reason: error.code, detail: error.message }, 'reply.ignored');
    return undefined;
  }
}

function unanswered({ host, port }: BrokerAddress, isConnected: boolean, timeoutMs: number): EnrolmentError {
  const where = `${host}:${port}`;
  const why = isConnected
    ? `nobody behind ${where} answered`
    : `${where} cannot be reached, or lets us not in`;
  return new EnrolmentError('enrolment.unanswered', `${why} within ${Math.round(timeoutMs / 1000)} s`);
}
