/** Which numbers of devices are missing, and which speak of two histories, as the ledger has it now. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Completeness, ForkItem, GapItem } from '../../domain/audit-view.ts';
import { deviceOf } from '../../ledger/stream.ts';
import type { EgressRecord } from '../record.ts';
import type { Fork } from '../stream-forks.ts';
import type { OpenGap } from '../stream-numbers.ts';
import type { PageContext } from './context.ts';
import { requireDevice } from './device-routes.ts';

const shownMax = 200;
const streamsMax = 5000;

export function registerCompletenessRoutes(server: FastifyInstance, context: PageContext): void {
  server.get('/api/completeness', (request) => completeness(context, request));
}

/** Of one device, if there is a query. */
function completeness(context: PageContext, request: FastifyRequest): Completeness {
  context.requireUser(request);
  const { record } = context;
  const { numbers, forks } = record.index;
  const device = asksForOne(request) ? requireDevice(context, request) : undefined;
  return {
    devices: devicesOf(record).filter((item) => device === undefined || item.device === device),
    gaps: numbers.gaps(shownMax, device).map(gapItem),
    forks: forks.list(shownMax, device).flatMap((fork) => forkItem(record, fork)),
  };
}

function asksForOne({ query }: FastifyRequest): boolean {
  return typeof query === 'object' && query !== null && Object.keys(query).length > 0;
}

/** By name. */
function devicesOf({ index }: EgressRecord): Completeness['devices'] {
  const devices = new Map<string, { gaps: number; forks: number }>();
  for (const what of ['gaps', 'forks'] as const) {
    const source = what === 'gaps' ? index.numbers : index.forks;
    for (const { stream, count } of source.byStream(streamsMax)) {
      const device = deviceOf(stream);
      const sums = devices.get(device) ?? { gaps: 0, forks: 0 };
      sums[what] += count;
      devices.set(device, sums);
    }
  }
  const items = Array.from(devices, ([device, sums]) => ({ device, ...sums }));
  return items.toSorted((one, other) => (one.device < other.device ? -1 : 1));
}

function gapItem({ stream, from, to, openedMs }: OpenGap): GapItem {
  return { stream, from, to, sinceMs: openedMs === 0 ? undefined : openedMs };
}

function forkItem(record: EgressRecord, { number, stream, sequence, reason }: Fork): ForkItem[] {
  const [found] = record.leavesFrom(number, 1);
  if (found?.leaf.kind !== 'passage') return [];
  const { alarm, timeMs } = found.leaf;
  return [{ number, stream, sequence, detail: alarm?.detail ?? reason, timeMs }];
}
