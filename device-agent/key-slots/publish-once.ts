/** One message over a connection of its own: what shows that a TLS certificate works. */
import { openLink } from '../../mqtt/link.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import type { Log } from '../../runtime/log.ts';
import type { BackoffLimits } from '../../runtime/retry.ts';
import type { BrokerOfDevice } from './bearer.ts';
import { KeySlotsError } from './errors.ts';

export interface PublishOnceOptions extends BrokerOfDevice {
  readonly identity: TlsIdentity;
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly retain: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly reconnect: BackoffLimits | undefined;
}

/**
 * @returns when the broker has acknowledged it
 * @throws KeySlotsError `slots.unproven` if it has not in time; `slots.stopped`
 */
export async function publishOnce(options: PublishOnceOptions): Promise<void> {
  const { broker, brokerName, requireUnrevoked, identity, log, reconnect } = options;
  const { topic, payload, retain, timeoutMs, signal } = options;
  const link = openLink({
    broker,
    brokerName,
    identity,
    requireUnrevoked,
    clientId: `trial-of-${identity.commonName}`,
    cleanSession: true,
    log,
    ...(reconnect === undefined ? {} : { reconnect }),
  });
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new KeySlotsError('slots.stopped', 'the agent ends'));
  const late = `${broker.host}:${broker.port} took nothing from ${identity.commonName} within ${timeoutMs} ms`;
  const timer = setTimeout(() => reject(new KeySlotsError('slots.unproven', late)), timeoutMs);
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  const published = link.publish(topic, payload, { qos: 1, retain });
  published.catch(() => undefined); // closed before it was acknowledged: `ended` says why
  try {
    await Promise.race([published, ended]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    await link.close();
  }
}
