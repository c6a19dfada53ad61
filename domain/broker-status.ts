/** What a broker below says of itself, retained at `<its path>/broker/status` of the broker above it. */
import type { NamespacePath } from './namespace.ts';
import { levelOf, parseNamespacePath } from './namespace.ts';

export type BrokerStatus = { readonly state: 'offline'; readonly name: string } | OnlineStatus;

export interface OnlineStatus {
  readonly state: 'online';
  readonly name: string;
  readonly version: string;
  readonly connectedSinceMs: number;
  /** Messages that wait for the broker above, and their bytes. */
  readonly queued: number;
  readonly queuedBytes: number;
  readonly oldestWaitingMs: number;
  /** Since the start. */
  readonly forwardedUp: number;
  readonly forwardedDown: number;
  /** Messages that the broker above would not take, and that are kept aside. */
  readonly refused: number;
}

const last = '/broker/status';
const statusBytesMax = 4096;
const nameLengthMax = 64;
const counts = [
  'connectedSinceMs',
  'queued',
  'queuedBytes',
  'oldestWaitingMs',
  'forwardedUp',
  'forwardedDown',
  'refused',
] as const;

export function brokerStatusTopic(path: NamespacePath): string {
  return `${path}${last}`;
}

/** @returns whose broker a topic is about: a master account's or an account's; undefined for any other topic */
export function parseBrokerStatusTopic(topic: string): NamespacePath | undefined {
  if (!topic.endsWith(last)) return undefined;
  const path = parseNamespacePath(topic.slice(0, -last.length));
  return path === undefined || levelOf(path) === 'device' ? undefined : path;
}

export function encodeBrokerStatus(status: BrokerStatus): string {
  return JSON.stringify(status);
}

/** @returns undefined for anything else */
export function parseBrokerStatus(payload: Uint8Array): BrokerStatus | undefined {
  if (payload.length > statusBytesMax) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch {
    return undefined; // not UTF-8, or not JSON
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const status = parsed as Partial<Record<keyof OnlineStatus, unknown>>;
  const { state, name, version } = status;
  if (typeof name !== 'string' || name.length > nameLengthMax) return undefined;
  if (state === 'offline') return { state, name };
  if (state !== 'online' || typeof version !== 'string' || version.length > nameLengthMax) return undefined;
  const values = counts.map((count) => [count, status[count]] as const);
  if (!values.every(([, value]) => Number.isSafeInteger(value) && Number(value) >= 0)) return undefined;
  return {
    state,
    name,
    version,
    ...(Object.fromEntries(values) as Pick<OnlineStatus, (typeof counts)[number]>),
  };
}
