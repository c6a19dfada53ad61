/** Opened envelopes as octets: from the thread that opened them to the one that stores them, which alone unpacks them. */
import { deserialize, serialize } from 'node:v8';
import type { CommandResult } from '../domain/command.ts';
import type { OpenedArrival } from './decryptor.ts';

export interface PackedArrival {
  readonly arrival: OpenedArrival;
  readonly result: CommandResult | undefined;
}

/** A layout that several of them share is there once. */
export function packArrivals(arrivals: readonly PackedArrival[]): Uint8Array {
  return serialize(arrivals);
}

export function unpackArrivals(packed: Uint8Array): readonly PackedArrival[] {
  return deserialize(packed) as readonly PackedArrival[]; // our own encoding
}
