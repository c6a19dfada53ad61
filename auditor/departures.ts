/** What left today, for whom and from which device: followed in the ledger and added up in memory. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Departed } from '../domain/audit-view.ts';
import type { Clock } from '../domain/clock.ts';
import type { PassageLeaf } from '../ledger/leaf.ts';
import { deviceOf } from '../ledger/stream.ts';
import type { EgressRecord } from './record.ts';

interface Sum {
  envelopes: number;
  /** Of the envelopes. */
  bytes: number;
}

interface DeviceSum extends Sum {
  denied: number;
  held: number;
  alarms: number;
  lastMs: number;
  /** Digests of its lists of channels, hexadecimal. */
  readonly lists: Map<string, { readonly digest: Buffer; envelopes: number }>;
}

/** Read at once; then others have their turn. */
const pageLeaves = 500;
/** Read for one question; the next goes on. */
const questionLeavesMax = 50_000;
const devicesMax = 20_000;
const recipientsMax = 1000;
const listsPerDeviceMax = 20;
const channelsShownMax = 500;
const devicesShownMax = 500;
const lookAheadLeaves = 50;

export class Departures {
  readonly #record: EgressRecord;
  readonly #clock: Clock;
  #sinceMs = -1;
  /** The first leaf that is not added up yet. */
  #next = 0;
  #recipients = new Map<string, Sum & { isKnown: boolean }>();
  #devices = new Map<string, DeviceSum>();
  #total = emptySum();
  #reading: Promise<void> | undefined;

  constructor(record: EgressRecord, clock: Clock) {
    this.#record = record;
    this.#clock = clock;
  }

  /** Since midnight, by the clock of this machine. @throws RecordError */
  async today(): Promise<Departed> {
    this.#reading ??= this.#catchUp().finally(() => (this.#reading = undefined));
    await this.#reading;
    const { envelopes, bytes, denied, held, alarms } = this.#total;
    return {
      sinceMs: this.#sinceMs,
      envelopes,
      bytes,
      denied,
      held,
      alarms,
      isComplete: this.#next >= this.#record.head.size,
      recipients: Array.from(this.#recipients, ([name, sum]) => ({ name, ...sum })).toSorted(byBytes),
      devices: Array.from(this.#devices)
        .toSorted(([, one], [, other]) => byBytes(one, other))
        .slice(0, devicesShownMax)
        .map(([device, { lists, ...sum }]) => ({ device, ...sum, channels: this.#channelsOf(lists) })),
    };
  }

  async #catchUp(): Promise<void> {
    const sinceMs = new Date(this.#clock()).setHours(0, 0, 0, 0);
    if (sinceMs !== this.#sinceMs) {
      this.#sinceMs = sinceMs;
      this.#recipients = new Map();
      this.#devices = new Map();
      this.#total = emptySum();
      this.#next = this.#firstSince(sinceMs);
    }
    for (let read = 0; read < questionLeavesMax; read += pageLeaves) {
      const page = this.#record.leavesFrom(this.#next, pageLeaves);
      for (const { leaf } of page) if (leaf.kind === 'passage') this.#add(leaf);
      this.#next += page.length;
      if (page.length < pageLeaves) return;
      await turn();
    }
  }

  /** Entries stand in the order of the auditor's clock, so halving finds the first of a day. */
  #firstSince(sinceMs: number): number {
    let low = 0;
    let high = this.#record.head.size;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const timed = this.#record
        .leavesFrom(middle, lookAheadLeaves)
        .find(({ leaf }) => leaf.kind !== 'channels')?.leaf;
      if (timed === undefined || timed.kind === 'channels' || timed.timeMs >= sinceMs) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #add(leaf: PassageLeaf): void {
    if (leaf.direction !== 'out' || leaf.timeMs < this.#sinceMs) return;
    const name = deviceOf(leaf.topic);
    let device = this.#devices.get(name);
    if (device === undefined && this.#devices.size < devicesMax) {
      device = emptySum();
      this.#devices.set(name, device);
    }
    for (const sum of device === undefined ? [this.#total] : [this.#total, device]) count(sum, leaf);
    if (!hasLeft(leaf)) return;
    for (const { name: known, identifier } of leaf.recipients) {
      const recipient = known ?? identifier;
      let sum = this.#recipients.get(recipient);
      if (sum === undefined) {
        if (this.#recipients.size >= recipientsMax) continue;
        sum = { envelopes: 0, bytes: 0, isKnown: known !== undefined };
        this.#recipients.set(recipient, sum);
      }
      sum.envelopes += 1;
      sum.bytes += leaf.bytes;
    }
  }

  #channelsOf(lists: DeviceSum['lists']): { name: string; envelopes: number }[] {
    const channels = new Map<string, number>();
    for (const { digest, envelopes } of lists.values()) {
      for (const name of this.#record.channelNames(digest) ?? []) {
        channels.set(name, (channels.get(name) ?? 0) + envelopes);
      }
    }
    return Array.from(channels, ([name, envelopes]) => ({ name, envelopes })).slice(0, channelsShownMax);
  }
}

function emptySum(): DeviceSum {
  return { envelopes: 0, bytes: 0, denied: 0, held: 0, alarms: 0, lastMs: 0, lists: new Map() };
}

function hasLeft({ outcome }: PassageLeaf): boolean {
  return outcome === 'passed' || outcome === 'released';
}

function count(sum: DeviceSum, leaf: PassageLeaf): void {
  const { outcome, alarm, bytes, timeMs, channels } = leaf;
  if (alarm !== undefined) sum.alarms += 1;
  if (outcome === 'denied') sum.denied += 1;
  if (outcome === 'held') sum.held += 1;
  sum.lastMs = Math.max(sum.lastMs, timeMs);
  if (!hasLeft(leaf)) return;
  sum.envelopes += 1;
  sum.bytes += bytes;
  if (channels === undefined) return;
  const key = channels.digest.toString('hex');
  const list = sum.lists.get(key);
  if (list !== undefined) list.envelopes += 1;
  else if (sum.lists.size < listsPerDeviceMax) sum.lists.set(key, { digest: channels.digest, envelopes: 1 });
}

function byBytes(one: Sum, other: Sum): number {
  return other.bytes - one.bytes;
}
