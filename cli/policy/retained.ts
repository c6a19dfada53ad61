/** The policies that a broker keeps, as a program that connects now gets them. */
import type { Topic } from '../../domain/topic.ts';
import type { Link } from '../../mqtt/link.ts';
import { openLink } from '../../mqtt/link.ts';
import type { TlsIdentity } from '../../pki/identity.ts';
import type { Endpoint } from '../../runtime/config.ts';
import { createLog } from '../../runtime/log.ts';

export interface Desk {
  readonly link: Link;
  /** By topic. */
  readonly retained: ReadonlyMap<string, Buffer>;
}

/** A broker sends what it keeps right after it has granted a subscription; nobody says that it was all. */
const quietMs = 500;
const unreachableMs = 10_000;

/**
 * Connects, collects what is retained, and hands both over; closes the connection in the end.
 *
 * @throws Error if the broker cannot be reached or does not let us read there
 */
export async function atBroker<Result>(
  broker: { readonly endpoint: Endpoint; readonly name: string; readonly identity: TlsIdentity },
  topics: readonly Topic[],
  work: (desk: Desk) => Promise<Result>,
): Promise<Result> {
  const { endpoint, name, identity } = broker;
  const retained = new Map<string, Buffer>();
  const { promise: subscribed, resolve, reject } = Promise.withResolvers<void>();
  const link = openLink({
    broker: endpoint,
    brokerName: name,
    identity,
    clientId: `policy-of-${identity.commonName}`,
    cleanSession: true,
    subscriptions: topics.map((filter) => ({ filter, qos: 1 })),
    onSubscribed: (granted) => {
      const refused = granted.find((one) => one.granted === 'refused');
      if (refused === undefined) setTimeout(resolve, quietMs);
      else reject(new Error(`the broker does not let ${identity.commonName} read ${refused.filter}`));
    },
    onMessage: ({ topic, payload }, acknowledge) => {
      acknowledge();
      if (payload.length > 0) retained.set(topic, payload);
    },
    log: createLog('policy', 'silent'),
  });
  const where = `${endpoint.host}:${endpoint.port}`;
  const unreachable = new Error(`${where} cannot be reached, or lets us not in`);
  const timer = setTimeout(() => reject(unreachable), unreachableMs);
  try {
    await subscribed;
    return await work({ link, retained });
  } finally {
    clearTimeout(timer);
    await link.close();
  }
}
