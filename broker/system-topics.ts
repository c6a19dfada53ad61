/** The `$SYS` topics, under the names of Mosquitto that dashboards and exporters look for, and ours beside them. */
import type { CascadeState } from './cascade/cascade-state.ts';
import { LoadAverages, loadSpansMinutes } from './load-averages.ts';
import type { Measures } from './measures.ts';
import type { Hub } from './routing/hub.ts';
import type { StoreRoom } from './store/room.ts';
import { isShared } from './access/shared-filter.ts';
import type { Session } from './routing/session.ts';

export interface SystemFacts {
  readonly hub: Pick<Hub, 'declareSystemTopic' | 'retainedCount'>;
  readonly sessions: () => Iterable<Session>;
  readonly measures: Measures;
  readonly room: Pick<StoreRoom, 'state'>;
  readonly name: string;
  readonly version: string;
  readonly startedMs: number;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
}

export interface SystemTopics {
  /** Brings the averages up to date, every few seconds. */
  update(): void;
}

/** What only counting all sessions tells; counted at most once a second, for there may be many of them. */
interface Census {
  readonly connected: number;
  readonly away: number;
  readonly subscriptions: number;
  readonly sharedSubscriptions: number;
  readonly queued: number;
  readonly queuedBytes: number;
}

const censusMs = 1000;

/** Declares everything below `$SYS/broker`; numbers are in decimal digits, what has several parts is JSON. */
export function declareSystemTopics(facts: SystemFacts): SystemTopics {
  const { hub, name, version, startedMs, monotonicMs } = facts;
  const declare = declareIn(hub);
  declare('name', () => name);
  declare('version', () => `plombe version ${version}`);
  declare('uptime', () => `${Math.floor((monotonicMs() - startedMs) / 1000)} seconds`);
  declareClients(declare, facts);
  declareTraffic(declare, facts.measures);
  declareOwn(declare, facts);
  let heapMax = 0;
  const heap = (): number => {
    const { heapUsed } = process.memoryUsage();
    heapMax = Math.max(heapMax, heapUsed);
    return heapUsed;
  };
  declare('heap/current', heap);
  declare('heap/maximum', () => Math.max(heap(), heapMax));
  const averages = declareLoad(declare, facts.measures, monotonicMs());
  return {
    update: () => {
      heap();
      averages.update(monotonicMs());
    },
  };
}

/** @param state - undefined while there is none, as between two links */
export function declareCascadeTopics(hub: SystemFacts['hub'], state: () => CascadeState | undefined): void {
  const declare = declareIn(hub);
  // As Mosquitto says it of a bridge.
  declare('connection/cascade/state', () => (state()?.connected === true ? 1 : 0));
  declare('cascade/state', () => JSON.stringify(state() ?? { connected: false }));
}

function declareIn(hub: SystemFacts['hub']): Declare {
  return (topic, value) => hub.declareSystemTopic(`$SYS/broker/${topic}`, () => String(value()));
}

type Declare = (topic: string, value: () => string | number) => void;

function declareClients(declare: Declare, { hub, sessions, measures, monotonicMs }: SystemFacts): void {
  let known: Census | undefined;
  let knownMs = 0;
  const census = (): Census => {
    const nowMs = monotonicMs();
    if (known === undefined || nowMs - knownMs >= censusMs) {
      known = countAll(sessions());
      knownMs = nowMs;
    }
    return known;
  };
  const { traffic } = measures;
  declare('clients/connected', () => census().connected);
  declare('clients/disconnected', () => census().away);
  declare('clients/total', () => census().connected + census().away);
  declare('clients/maximum', () => Math.max(traffic.connectedMax, census().connected));
  declare('clients/expired', () => traffic.sessionsExpired);
  // As they were called before; exporters still ask for them.
  declare('clients/active', () => census().connected);
  declare('clients/inactive', () => census().away);
  declare('subscriptions/count', () => census().subscriptions);
  declare('shared_subscriptions/count', () => census().sharedSubscriptions);
  declare('retained messages/count', () => hub.retainedCount);
  const kept = (): number => census().queued + hub.retainedCount;
  declare('messages/stored', kept);
  declare('store/messages/count', kept);
  declare('store/messages/bytes', () => census().queuedBytes);
}

function declareTraffic(declare: Declare, { traffic, dropped }: Measures): void {
  declare('messages/received', () => traffic.packetsReceived);
  declare('messages/sent', () => traffic.packetsSent);
  declare('bytes/received', () => traffic.bytesReceived);
  declare('bytes/sent', () => traffic.bytesSent);
  declare('publish/messages/received', () => traffic.received);
  declare('publish/messages/sent', () => traffic.sent);
  declare('publish/messages/dropped', () => dropped.total);
  declare('publish/bytes/received', () => traffic.receivedPayloadBytes);
  declare('publish/bytes/sent', () => traffic.sentPayloadBytes);
}

function declareLoad(declare: Declare, { traffic, dropped }: Measures, nowMs: number): LoadAverages {
  const counters = new Map([
    ['messages/received', () => traffic.packetsReceived],
    ['messages/sent', () => traffic.packetsSent],
    ['publish/received', () => traffic.received],
    ['publish/sent', () => traffic.sent],
    ['publish/dropped', () => dropped.total],
    ['bytes/received', () => traffic.bytesReceived],
    ['bytes/sent', () => traffic.bytesSent],
    ['sockets', () => traffic.connections],
    ['connections', () => traffic.connections],
  ]);
  const averages = new LoadAverages(counters, nowMs);
  for (const name of counters.keys()) {
    for (const span of loadSpansMinutes) {
      declare(`load/${name}/${span}min`, () => averages.perMinute(name, span).toFixed(2));
    }
  }
  return averages;
}

/** What Mosquitto has no names for. */
function declareOwn(declare: Declare, { measures, room }: SystemFacts): void {
  declare('store/state', () => JSON.stringify(room.state));
  declare('queues/full', () => measures.traffic.fullQueues);
  for (const name of ['denials', 'refusals', 'dropped', 'disconnects'] as const) {
    declare(name, () => JSON.stringify(countsOf(measures[name])));
  }
}

/** @returns by the values of the labels, as `publish no_right` */
function countsOf(tally: Measures['denials' | 'refusals' | 'dropped' | 'disconnects']): object {
  return Object.fromEntries(
    Array.from(tally.entries, ({ labels, count }) => [Object.values(labels).join(' '), count]),
  );
}

function countAll(sessions: Iterable<Session>): Census {
  let connected = 0;
  let away = 0;
  let subscriptions = 0;
  let sharedSubscriptions = 0;
  let queued = 0;
  let queuedBytes = 0;
  for (const session of sessions) {
    queued += session.queue.messages;
    queuedBytes += session.queue.bytes;
    if (session.isCascade) continue;
    if (session.client === undefined) away++;
    else connected++;
    for (const filter of session.subscriptions.keys()) {
      if (isShared(filter)) sharedSubscriptions++;
      else subscriptions++;
    }
  }
  return { connected, away, subscriptions, sharedSubscriptions, queued, queuedBytes };
}
