/** The observation endpoint of a program: Prometheus metrics, health, and its state as JSON, on a private address. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { Endpoint } from './config.ts';

export type { Counter, Gauge, Histogram };

/** One program's metrics. Names begin with `plombe_`, units stand last, counters end in `_total`. */
export interface Metrics {
  /** @param collect - called before the value is read, to bring it up to date */
  counter<L extends string = never>(
    name: string,
    help: string,
    labels?: readonly L[],
    collect?: () => void,
  ): Counter<L>;
  /** @param collect - as for counters */
  gauge<L extends string = never>(
    name: string,
    help: string,
    labels?: readonly L[],
    collect?: () => void,
  ): Gauge<L>;
  histogram<L extends string = never>(
    name: string,
    help: string,
    bucketsSeconds: readonly number[],
    labels?: readonly L[],
  ): Histogram<L>;
  readonly registry: Registry;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    counter: (name, help, labels = [], collect = () => undefined) =>
      new Counter({ name, help, labelNames: [...labels], registers: [registry], collect }),
    gauge: (name, help, labels = [], collect = () => undefined) =>
      new Gauge({ name, help, labelNames: [...labels], registers: [registry], collect }),
    histogram: (name, help, buckets, labels = []) =>
      new Histogram({ name, help, buckets: [...buckets], labelNames: [...labels], registers: [registry] }),
  };
}

export interface Observation {
  readonly metrics: Metrics;
  /** Whether the program works; if not, `reason` says why, and a restart may help. */
  readonly health: () => { readonly healthy: boolean; readonly reason?: string };
  /** Whether work should be sent to it now, which a restart does not change. The same as its health unless given. */
  readonly readiness?: () => { readonly ready: boolean; readonly reasons: readonly string[] };
  /** What `/state` answers: counts and states, never secrets. */
  readonly state: () => unknown;
}

export interface ObservationServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves `/metrics`, `/healthz`, `/readyz` and `/state`. Bind it to loopback or a management network: it has no login. */
export async function startObservation(
  endpoint: Endpoint,
  observation: Observation,
): Promise<ObservationServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
    };
    if (request.method !== 'GET') return answer(405, 'text/plain', 'only GET\n');
    switch (request.url) {
      case '/metrics':
        observation.metrics.registry.metrics().then(
          (text) => answer(200, observation.metrics.registry.contentType, text),
          (error: unknown) => answer(500, 'text/plain', `${String(error)}\n`),
        );
        return undefined;
      case '/healthz': {
        const health = observation.health();
        return answer(health.healthy ? 200 : 503, 'application/json', JSON.stringify(health));
      }
      case '/readyz': {
        const { readiness = readinessByHealth(observation) } = observation;
        const found = readiness();
        return answer(found.ready ? 200 : 503, 'application/json', JSON.stringify(found));
      }
      case '/state':
        return answer(200, 'application/json', JSON.stringify(observation.state()));
      default:
        return answer(404, 'text/plain', 'there are /metrics, /healthz, /readyz and /state\n');
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(endpoint.port, endpoint.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function readinessByHealth({ health }: Observation): NonNullable<Observation['readiness']> {
  return () => {
    const { healthy, reason } = health();
    return { ready: healthy, reasons: reason === undefined ? [] : [reason] };
  };
}
