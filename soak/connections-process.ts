/** Many clients in one process: devices that publish and are sent to, or one reader of all of it (see connections.ts). */
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { nowMs } from './connections-clock.ts';
import { ExactClient } from './exact-client.ts';
import type { Credentials } from './site.ts';

export interface Devices {
  readonly role: 'devices';
  readonly port: number;
  readonly identities: readonly { readonly name: string; readonly credentials: Credentials }[];
  readonly connections: number;
  readonly publishEveryMs: number;
}
export interface Reader {
  readonly role: 'reader';
  readonly port: number;
  readonly credentials: Credentials;
}
export type Asked = Devices | Reader | { readonly role: 'start' } | { readonly role: 'stop' };

/** Counts since the start. */
export interface Report {
  readonly event: 'report';
  readonly open: number;
  readonly disconnected: number;
  readonly published: number;
  readonly acknowledged: number;
  readonly received: number;
  /** From publishing to arrival, of what was received since the last report. */
  readonly latenciesMs: readonly number[];
}
export type Told = { readonly event: 'ready' } | Report;

/** Handshakes at a time. */
const jobs = 8;
const reportMs = 1000;
const payloadBytes = 200;

const counts = { open: 0, disconnected: 0, published: 0, acknowledged: 0, received: 0 };
let latenciesMs: number[] = [];
let isPublishing = false;

process.on('message', (asked: Asked) => {
  switch (asked.role) {
    case 'devices':
      void openDevices(asked).then(() => tell({ event: 'ready' }));
      break;
    case 'reader':
      void openReader(asked).then(() => tell({ event: 'ready' }));
      break;
    case 'start':
      isPublishing = true;
      break;
    case 'stop':
      isPublishing = false;
      break;
  }
});

setInterval(() => {
  tell({ event: 'report', ...counts, latenciesMs });
  latenciesMs = [];
}, reportMs);

async function openDevices({ port, identities, connections, publishEveryMs }: Devices): Promise<void> {
  const contexts = identities.map(({ credentials }) => createSecureContext(credentials));
  let next = 0;
  const openSome = async (): Promise<void> => {
    while (next < connections) {
      const index = next++;
      const at = index % identities.length;
      const name = identities[at]?.name ?? '';
      const clientId = `${process.pid} ${index}`;
      const client = await open(port, contexts[at], clientId, [`${name}/commands`]);
      // Each begins at another time, so that the load is even.
      const firstMs = (index / connections) * publishEveryMs;
      setTimeout(() => setInterval(() => publish(client, `${name}/snapshots`), publishEveryMs), firstMs);
    }
  };
  await Promise.all(Array.from({ length: jobs }, openSome));
}

async function openReader({ port, credentials }: Reader): Promise<void> {
  await open(port, createSecureContext(credentials), 'reader', ['+/+/+/snapshots']);
}

async function open(
  port: number,
  secureContext: SecureContext | undefined,
  clientId: string,
  filters: readonly string[],
): Promise<ExactClient> {
  const client = new ExactClient({
    port,
    tls: secureContext === undefined ? {} : { secureContext },
    clientId,
    filters,
    qos: 1,
    onMessage: ({ payload }) => {
      counts.received++;
      latenciesMs.push(nowMs() - Number(payload.toString()));
    },
    onAcknowledged: () => counts.acknowledged++,
  });
  await client.open();
  await client.settled();
  counts.open++;
  void client.lost().then(() => {
    counts.open--;
    counts.disconnected++;
  });
  return client;
}

function publish(client: ExactClient, topic: string): void {
  if (!isPublishing) return;
  counts.published++;
  client.publish(topic, String(nowMs()).padEnd(payloadBytes), 1);
}

function tell(told: Told): void {
  process.send?.(told);
}
