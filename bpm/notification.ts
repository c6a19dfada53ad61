/**
 * Sends what is in the outbox: mails by SMTP, text messages and service calls by HTTP.
 *
 * An attempt is recorded before it begins and after it ended. Between the two nobody can know whether the other
 * side took the message (RFC 5321 §6.1), so after a crash it goes out again, with the same Message-ID or
 * Idempotency-Key, by which a duplicate can be recognised.
 */
import { createTransport } from 'nodemailer';
import type { Clock } from '../domain/clock.ts';
import type { NotificationChannel } from '../domain/view.ts';
import type { Log } from '../runtime/log.ts';
import { backoffMs } from '../runtime/retry.ts';
import type { Database } from '../database/connect.ts';
import type { NotificationRow } from '../database/processes-notifications.ts';
import { claimNotifications, settleNotification } from '../database/processes-notifications.ts';

/** One way out. */
export interface Transport {
  readonly channel: NotificationChannel;
  /** Resolves when the other side has taken the message. */
  send(notification: NotificationRow): Promise<void>;
  close(): void;
}

/** The other side said no for good; trying again would change nothing. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
}

const attemptsMax = 8;
const backoff = { firstMs: 5000, maxMs: 3_600_000 };
const claimMax = 20;
/** Longer than any attempt can take, so that a row is never in two hands. */
const leaseMs = 180_000;
const smtpTimeoutMs = 30_000;
const httpTimeoutMs = 20_000;
const detailLengthMax = 500;

/**
 * @param smtpUrl - `smtp://user:password@host:port` or `smtps://…`
 * @param from - the sender's address; its domain is in the Message-ID
 */
export function createMailTransport(smtpUrl: string, from: string): Transport {
  const mailer = createTransport({
    url: smtpUrl,
    connectionTimeout: smtpTimeoutMs,
    greetingTimeout: smtpTimeoutMs,
    socketTimeout: smtpTimeoutMs,
  });
  const domain = /@([A-Za-z0-9.-]+)/.exec(from)?.[1] ?? 'localhost';
  return {
    channel: 'mail',
    send: async ({ id, recipients, subject, body }) => {
      try {
        await mailer.sendMail({
          from,
          messageId: `<${id}@${domain}>`,
          to: recipients.split(','),
          subject,
          text: body,
          // RFC 3834 §5: so that nobody's holiday notice answers a machine.
          headers: { 'Auto-Submitted': 'auto-generated' },
        });
      } catch (cause) {
        if (isPermanent(cause)) throw new RefusedError(describe(cause), { cause });
        throw cause;
      }
    },
    close: () => mailer.close(),
  };
}

/** RFC 5321 §4.2.1: a reply of 5yz means that the same mail must not be tried again. */
function isPermanent(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('responseCode' in error)) return false;
  const { responseCode } = error;
  return typeof responseCode === 'number' && responseCode >= 500 && responseCode < 600;
}

/**
 * A gateway that takes `{id, to, text}` as JSON and answers 2xx.
 *
 * @param token - sent as a bearer token (RFC 6750 §2.1)
 */
export function createHttpTransport(
  channel: 'sms' | 'webhook',
  url: string,
  token: string | undefined,
): Transport {
  return {
    channel,
    send: async ({ id, recipients, subject, body }) => {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'idempotency-key': id,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify({ id, to: recipients, subject, text: body }),
        redirect: 'error',
        signal: AbortSignal.timeout(httpTimeoutMs),
      });
      await response.body?.cancel();
      if (response.ok) return;
      const fault = `gateway answered ${response.status}`;
      // RFC 9110 §15.5: a 4xx is the request's own fault, except for two that say "later".
      const later = response.status >= 500 || response.status === 408 || response.status === 429;
      throw later ? new Error(fault) : new RefusedError(fault);
    },
    close: () => {},
  };
}

export interface OutboxDependencies {
  readonly database: Database;
  readonly transports: readonly Transport[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export type NotificationOutcome = 'sent' | 'retried' | 'failed';

/** Sends what is due, one after the other. @returns the outcome of each attempt; call again while there are some */
export async function sendDue(dependencies: OutboxDependencies): Promise<NotificationOutcome[]> {
  const { database, transports, clock } = dependencies;
  const claimed = await claimNotifications(database, {
    channels: transports.map(({ channel }) => channel),
    nowMs: clock(),
    leaseMs,
    // One at a time keeps the lease true however slow the other side is.
    limit: Math.min(claimMax, Math.max(1, Math.floor(leaseMs / (4 * smtpTimeoutMs)))),
  });
  const outcomes: NotificationOutcome[] = [];
  for (const notification of claimed) outcomes.push(await sendOne(dependencies, notification));
  return outcomes;
}

async function sendOne(
  dependencies: OutboxDependencies,
  notification: NotificationRow,
): Promise<NotificationOutcome> {
  const { database, transports, clock, random, log } = dependencies;
  const { id, channel, attempts } = notification;
  try {
    await transports.find((transport) => transport.channel === channel)?.send(notification);
  } catch (error) {
    const givesUp = error instanceof RefusedError || attempts >= attemptsMax;
    const detail = describe(error).slice(0, detailLengthMax);
    log.warn({ id, channel, attempts, reason: detail, givesUp }, 'notification.attempt_failed');
    await settleNotification(database, id, {
      state: givesUp ? 'failed' : 'pending',
      dueMs: clock() + backoffMs(attempts - 1, backoff, random),
      sentMs: null,
      detail,
    });
    return givesUp ? 'failed' : 'retried';
  }
  await settleNotification(database, id, { state: 'sent', dueMs: clock(), sentMs: clock(), detail: '' });
  log.info({ id, channel, attempts }, 'notification.sent');
  return 'sent';
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
}
