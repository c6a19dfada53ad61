/** A broker with a million queued messages starts in seconds, and their reader gets the first of them at once. */
import path from 'node:path';
import { neverExpires } from '../broker/routing/session.ts';
import { Store } from '../broker/store/store.ts';
import { ExactClient } from './exact-client.ts';
import type { Outcome, SoakOptions } from './outcome.ts';
import { Program } from './program.ts';
import { SoakSite } from './site.ts';

const identity = 'ms-acc-1';
const topic = `${identity}/acc-1/dev-1/snapshots`;
const messages = 1_000_000;
const payloadBytes = 200;
/** Stored sessions, each with its part of them. */
const sessions = 4;
const perCommit = 10_000;
const startMsMax = 10_000;
const firstMsMax = 2_000;

export async function soakBacklog({ onProgress }: SoakOptions): Promise<Outcome> {
  const site = new SoakSite();
  const configOn = await site.brokerConfig('broker', {});
  const broker = new Program(['broker', '--config', configOn(0)]);
  try {
    const emptyMs = await startMs(broker);
    await broker.end('SIGTERM');
    fill(path.join(site.directory, 'broker', 'data'));
    onProgress(`${messages} messages are queued`);
    const beginMs = performance.now();
    const { port } = await broker.start('broker.listening');
    const fullMs = performance.now() - beginMs;
    onProgress(`started in ${Math.round(fullMs)} ms`);
    const firstMs = await firstMessageMs(site, Number(port));
    await broker.end('SIGTERM');
    const violations = [
      ...(fullMs > startMsMax ? [`it started in ${Math.round(fullMs)} ms`] : []),
      ...(firstMs > firstMsMax ? [`the first message came after ${Math.round(firstMs)} ms`] : []),
    ];
    const [start, startEmpty, first] = [fullMs, emptyMs, firstMs].map(Math.round);
    return {
      violations,
      figures: { messages, startMs: start ?? 0, startEmptyMs: startEmpty ?? 0, firstMs: first ?? 0 },
    };
  } finally {
    await broker.end('SIGKILL');
    site.remove();
  }
}

async function startMs(broker: Program): Promise<number> {
  const beginMs = performance.now();
  await broker.start('broker.listening');
  return performance.now() - beginMs;
}

/** As the broker writes them. */
function fill(directory: string): void {
  const store = new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
  const ids = Array.from({ length: sessions }, (_, index) =>
    store.createSession(identity, `reader-${index}`, neverExpires),
  );
  const none = { properties: Buffer.alloc(0), expiresMs: undefined };
  const terms = { qos: 1, retain: false, identifiers: Buffer.alloc(0), share: undefined } as const;
  for (let index = 0; index < messages; index++) {
    const message = store.insertMessage({ topic, payload: Buffer.alloc(payloadBytes), ...none }, 1);
    const sequence = Math.floor(index / sessions) + 1;
    const delivery = { sequence, bytes: payloadBytes + topic.length, ...terms };
    store.enqueue(ids[index % sessions] ?? 0, delivery, message);
    if (index % perCommit === 0) store.commit();
  }
  store.close();
}

/** From the connection to the first message. */
async function firstMessageMs(site: SoakSite, port: number): Promise<number> {
  const tls = await site.credentials(identity);
  const beginMs = performance.now();
  let client: ExactClient | undefined;
  await new Promise<void>((resolve, reject) => {
    client = new ExactClient({ tls, port, clientId: 'reader-0', qos: 1, onMessage: () => resolve() });
    client.open().catch(reject);
  });
  client?.drop();
  return performance.now() - beginMs;
}
