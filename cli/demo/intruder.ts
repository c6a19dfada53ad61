/** A device that asks for what is not its own: the demo shows that it is denied. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openLink } from '../../mqtt/link.ts';
import { loadTlsIdentity } from '../../pki/identity.ts';
import type { Endpoint } from '../../runtime/config.ts';
import type { Log } from '../../runtime/log.ts';

export interface IntruderOptions {
  readonly identityDirectory: string;
  readonly broker: Endpoint;
  readonly brokerName: string;
  /** Another customer's topic. */
  readonly foreignTopic: string;
  readonly log: Log;
}

export interface Attempt {
  readonly who: string;
  readonly what: string;
  readonly denied: boolean;
}

const answerTimeoutMs = 10_000;
/** A timer that lost its race does not keep the demo from ending. */
const unwatched = { ref: false };

/** Asks with a genuine certificate, once to read and once to write. */
export async function intrude(options: IntruderOptions): Promise<Attempt[]> {
  const identity = loadTlsIdentity(options.identityDirectory);
  const who = identity.commonName;
  const attempts: Attempt[] = [];
  let denied: () => void = () => undefined;
  const refused = new Promise<true>((resolve) => (denied = () => resolve(true)));
  const link = openLink({
    broker: options.broker,
    brokerName: options.brokerName,
    identity,
    clientId: 'curious',
    cleanSession: true,
    log: options.log,
    onRefused: () => denied(),
    onDisconnect: () => denied(),
    reconnect: { firstMs: answerTimeoutMs, maxMs: answerTimeoutMs },
  });
  try {
    const granted = await Promise.race([
      link.subscribe(options.foreignTopic, 1),
      sleep(answerTimeoutMs, 'no answer', unwatched),
    ]);
    attempts.push({ who, what: `subscribe ${options.foreignTopic}`, denied: granted === 'refused' });
    // MQTT 5 says no; 3.1.1 has no words for it, and the broker closes the connection [MQTT-3.3.5-2].
    link.publish(options.foreignTopic, 'forged', { qos: 1 }).catch(() => undefined);
    const isDenied = await Promise.race([refused, sleep(answerTimeoutMs, false, unwatched)]);
    attempts.push({ who, what: `publish ${options.foreignTopic}`, denied: isDenied });
  } finally {
    await link.close();
  }
  return attempts;
}
