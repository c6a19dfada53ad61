/** When a device is due for service: by the hours that it worked, by the days that passed, whichever comes first. */
import type { ChannelValue } from './snapshot.ts';

/** A service that somebody noted. */
export interface Service {
  readonly id: number;
  readonly servicedMs: number;
  /** What the counter of operating hours said then; null if nobody looked. */
  readonly hours: number | null;
  readonly remark: string;
  readonly notedMs: number;
  readonly notedBy: string;
  /** Null unless it was noted by mistake. */
  readonly withdrawnMs: number | null;
  readonly withdrawnBy: string | null;
}

/** Null where none is agreed. */
export interface ServiceIntervals {
  readonly serviceHours: number | null;
  readonly serviceDays: number | null;
}

export interface ServiceDue {
  /** Of operation, below 0 when overdue; undefined without an interval, or while nobody counts. */
  readonly hoursLeft: number | undefined;
  /** Undefined without an interval, or before the first service. */
  readonly dueMs: number | undefined;
}

/** The channels that most equipment has; the second one is the machine's own count since its last service. */
export const operatingHoursChannel = 'counters.operating-hours';
export const hoursSinceServiceChannel = 'service.hours-since';
const dayMs = 86_400_000;

/**
 * @param services - of one device; withdrawn ones do not count
 * @param latest - its newest values
 */
export function serviceDue(
  { serviceHours, serviceDays }: ServiceIntervals,
  services: readonly Service[],
  latest: readonly { readonly channel: string; readonly value: ChannelValue }[],
): ServiceDue {
  const last = lastService(services);
  const since = hoursSince(last, latest);
  return {
    hoursLeft: serviceHours === null || since === undefined ? undefined : serviceHours - since,
    dueMs: serviceDays === null || last === undefined ? undefined : last.servicedMs + serviceDays * dayMs,
  };
}

export function lastService(services: readonly Service[]): Service | undefined {
  return services
    .filter(({ withdrawnMs }) => withdrawnMs === null)
    .toSorted((a, b) => b.servicedMs - a.servicedMs || b.id - a.id)[0];
}

/** @returns the number that a channel shows, if it shows one */
export function numberIn(
  latest: readonly { readonly channel: string; readonly value: ChannelValue }[],
  channel: string,
): number | undefined {
  const value = latest.find((reading) => reading.channel === channel)?.value;
  return typeof value === 'number' ? value : undefined;
}

function hoursSince(
  last: Service | undefined,
  latest: readonly { readonly channel: string; readonly value: ChannelValue }[],
): number | undefined {
  const own = numberIn(latest, hoursSinceServiceChannel);
  if (own !== undefined) return own;
  const counted = numberIn(latest, operatingHoursChannel);
  if (counted === undefined) return undefined;
  // Never serviced: since it was new.
  if (last === undefined) return counted;
  return last.hours === null ? undefined : counted - last.hours;
}
