/** What the outbox knows of each stream, ahead of the disk by what waits for its commit. */
import assert from 'node:assert/strict';
import type { NamespacePath } from '../domain/namespace.ts';
import type { OutboxStore, SourcePosition } from './outbox-store.ts';
import type { StreamUsage } from './stream.ts';

export interface StreamState {
  readonly stream: string;
  readonly device: NamespacePath;
  readonly id: number;
  nextSequence: number;
  previousDigest: Buffer | undefined;
  delivered: number;
  dropped: number;
  position: SourcePosition | undefined;
  usage: StreamUsage | undefined;
  /** Includes what waits for its commit. */
  pending: number;
}

export class OutboxStreams {
  readonly #store: OutboxStore;
  /** Of each device, the main one first. */
  readonly #devices = new Map<NamespacePath, StreamState[]>();
  readonly #streams = new Map<string, StreamState>();

  constructor(store: OutboxStore) {
    this.#store = store;
  }

  /** Reads what is on the disk of these devices, in place of what was known. @throws OutboxError `outbox.storage` */
  load(devices: readonly NamespacePath[]): void {
    this.#store.transaction(() => {
      for (const device of devices) {
        const streams = [device, ...this.#store.sharedStreams(device)];
        this.#devices.set(
          device,
          streams.map((stream) => this.#load(device, stream)),
        );
      }
    });
  }

  /** @throws RangeError if it is not there */
  of(stream: string): StreamState {
    return this.#streams.get(stream) ?? fail(stream);
  }

  find(stream: string): StreamState | undefined {
    return this.#streams.get(stream);
  }

  /** The same as `of`, for a stream that its device may not have yet. @throws OutboxError `outbox.storage` */
  made(device: NamespacePath, stream: string): StreamState {
    const known = this.#streams.get(stream);
    if (known !== undefined) return known;
    const streams = this.#devices.get(device) ?? fail(device);
    let made: StreamState | undefined;
    this.#store.transaction(() => void (made = this.#load(device, stream)));
    const state = made ?? assert.fail('a transaction that is committed was run');
    streams.push(state);
    return state;
  }

  devices(): readonly NamespacePath[] {
    return [...this.#devices.keys()];
  }

  ofDevice(device: NamespacePath): readonly StreamState[] {
    return this.#devices.get(device) ?? [];
  }

  all(): Iterable<StreamState> {
    return this.#streams.values();
  }

  /** @returns how many envelopes wait in all */
  pending(): number {
    return pendingOf(this.#streams.values());
  }

  /** Knows a device no longer. @returns how many envelopes of it wait */
  remove(device: string): number {
    const path = this.devices().find((known) => known === device);
    if (path === undefined) return 0;
    const streams = this.ofDevice(path);
    this.#devices.delete(path);
    for (const { stream } of streams) this.#streams.delete(stream);
    return pendingOf(streams);
  }

  #load(device: NamespacePath, stream: string): StreamState {
    const state = { stream, device, ...this.#store.stream(stream) };
    this.#streams.set(stream, state);
    return state;
  }
}

function fail(stream: string): never {
  throw new RangeError(`${stream} is not a stream of this outbox`);
}

function pendingOf(streams: Iterable<StreamState>): number {
  return Array.from(streams).reduce((sum, { pending }) => sum + pending, 0);
}
