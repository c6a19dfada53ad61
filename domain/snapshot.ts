/** A snapshot: the values of all channels of one device at one moment. */
import { channelNameLengthMax } from './limits.ts';

export type ChannelValue = number | boolean | string;

export interface Reading {
  /** `group.name`, for example `fuel.temperature`; a name without a dot is in the group `general`. */
  readonly channel: string;
  /** A SenML unit (RFC 8428 §12.1) where one is registered, for example `Cel`; absent for counts and states. */
  readonly unit?: string;
  readonly value: ChannelValue;
}

export interface Snapshot {
  /** By the device's clock. */
  readonly timeMs: number;
  /** For example `FM` for a fuel meter; decides which rules and service intervals apply. */
  readonly deviceType: string;
  readonly readings: readonly Reading[];
}

const groupless = 'general';

/** @returns the group of a channel: what stands before the first dot of its name */
export function channelGroup(channel: string): string {
  const dot = channel.indexOf('.');
  return dot > 0 ? channel.slice(0, dot) : groupless;
}

/**
 * RFC 8428 §4.5.1: the characters of a SenML name, the first of them a letter or a digit. Without the colon, which
 * separates a device from its channel in a whole name.
 */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9\-./_]*$/;

export function isChannelName(text: string): boolean {
  return text.length <= channelNameLengthMax && namePattern.test(text);
}
