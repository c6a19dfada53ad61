/** A publisher that does not give up: it connects again, and sends again what was not acknowledged. */
import type { Site } from './fixture.ts';
import { Progress } from './fixture.ts';

export interface StubbornPublisher {
  /** Of every topic, so many were acknowledged. */
  readonly acknowledged: Progress;
  /** Resolves once all were. */
  readonly done: Promise<void>;
}

/** Publishes the numbers from 0 at QoS 1 to each topic, `batch` of them unacknowledged at a time. */
export function publishStubbornly(
  site: Site,
  broker: { readonly port: number },
  identity: string,
  {
    topics,
    wanted,
    batch,
  }: { readonly topics: readonly string[]; readonly wanted: number; readonly batch: number },
): StubbornPublisher {
  const acknowledged = new Progress();
  const publishUntilLost = async (): Promise<void> => {
    const publisher = await site.connect(broker, identity, { clientId: 'p' });
    const lost = new Promise<never>((_, reject) => publisher.once('close', () => reject(new Error('lost'))));
    lost.catch(() => undefined);
    try {
      while (acknowledged.value < wanted) {
        const numbers = Array.from({ length: batch }, (_, index) => String(acknowledged.value + index));
        const publishing = numbers.flatMap((number) =>
          topics.map((topic) => publisher.publishAsync(topic, number, { qos: 1 })),
        );
        await Promise.race([Promise.all(publishing), lost]);
        acknowledged.add(batch);
      }
    } finally {
      publisher.end(true);
    }
  };
  const publishAll = async (): Promise<void> => {
    while (acknowledged.value < wanted) await publishUntilLost().catch(() => undefined);
  };
  return { acknowledged, done: publishAll() };
}
