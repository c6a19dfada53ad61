/** A device's streams: what each group of readers gets of it has numbers and a chain of its own (decision 0018). */
import type { NamespacePath } from '../domain/namespace.ts';
import { mainGroup } from '../domain/policy.ts';
import type { DeviceTopic, Topic } from '../domain/topic.ts';
import { sharedTopic } from '../domain/topic.ts';

/** The ends of the topics on which a device's own envelopes go out. */
export type OutgoingTopic = Extract<DeviceTopic, 'snapshots' | 'commands/result'>;

/** What has gone out by a stream, so far as limits ask for it. */
export interface StreamUsage {
  /** That the last snapshot states. */
  readonly snapshotMs: number;
  /** Whole hours since 1970-01-01T00:00:00Z. */
  readonly hour: number;
  /** Of envelopes in that hour. */
  readonly bytes: number;
}

/** Where an envelope stands in its stream. */
export interface Place {
  readonly sequence: number;
  /** Of the stream's envelope before; undefined for the first. */
  readonly previousDigest: Buffer | undefined;
}

export interface SealedEnvelope {
  readonly envelope: Uint8Array;
  readonly digest: Uint8Array;
  /** What has gone out by the stream with it. */
  readonly usage?: StreamUsage;
}

/** @returns undefined if nothing is to go out after all */
export type Seal = (place: Place) => SealedEnvelope | undefined;

/** What is to go out by one stream. */
export interface Part {
  readonly stream: string;
  /** Called before the method that takes it returns; if one throws, no sequence number is used. */
  readonly seal: Seal;
}

const snapshotsEnd = '/snapshots';

/**
 * @param group - of readers
 * @returns what its topics begin with: of the main group the device itself
 */
export function streamOf(device: NamespacePath, group: string): string {
  return group === mainGroup ? device : sharedTopic(device, group).slice(0, -snapshotsEnd.length);
}

/** @returns which group of readers a stream of the device is of */
export function groupOf(stream: string, device: NamespacePath): string {
  return stream === device ? mainGroup : stream.slice(sharedPrefix(device).length);
}

/** @returns what every stream of a device begins with, but for the main one */
export function sharedPrefix(device: NamespacePath): string {
  return `${device}/shared/`;
}

/** Where an envelope of a stream goes. Results go by the main one alone. */
export function streamTopic(stream: string, name: OutgoingTopic): Topic {
  return `${stream}/${name}` as Topic;
}
