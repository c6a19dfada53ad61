/** What a device publishes retained at `M/A/E/status`; its last will is the same with `offline`. */
import { z } from 'zod';

/** Which policies a device obeys. */
export interface PolicyStatus {
  /** By the path of whose they are, the highest first; empty if there are none. */
  readonly numbers: Readonly<Record<string, number>>;
  /**
   * By group of readers: the first number of its stream that is sealed under these policies. What has a lower one may have been
   * sealed under those before; of a group that is not here nothing was. Absent from agents that do not say.
   */
  readonly since?: Readonly<Record<string, number>>;
  /** Why the last one that came was not taken; absent if it was. */
  readonly refused?: { readonly reason: string; readonly atMs: number };
}

export interface DeviceStatus {
  readonly state: 'online' | 'offline';
  readonly agentVersion: string;
  /** A broker has taken its envelopes up to this sequence; those that never came to a reader are lost, or on their way. */
  readonly sentUpTo?: number;
  /** Absent from agents that know no policies. */
  readonly policy?: PolicyStatus;
}

const versionLengthMax = 40;
/** Those of the policies that hold, and of some that did. */
const groupsMax = 64;
const sentType = z.int().nonnegative().optional();
const policyType = z.object({
  numbers: z
    .record(z.string().max(64), z.int().positive())
    .refine((numbers) => Object.keys(numbers).length <= 3),
  since: z
    .record(z.string().max(20), z.int().positive())
    .refine((groups) => Object.keys(groups).length <= groupsMax)
    .exactOptional(),
  refused: z.object({ reason: z.string().max(64), atMs: z.int() }).exactOptional(),
});

export function encodeDeviceStatus(status: DeviceStatus): string {
  return JSON.stringify(status);
}

/** @returns undefined if the payload is no status: a peer's nonsense is not our error */
export function parseDeviceStatus(payload: Uint8Array): DeviceStatus | undefined {
  let decoded: unknown;
  try {
    decoded = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof decoded !== 'object' || decoded === null) return undefined;
  const { state, agentVersion, policy, sentUpTo } = Object.fromEntries(Object.entries(decoded));
  if (state !== 'online' && state !== 'offline') return undefined;
  if (typeof agentVersion !== 'string' || agentVersion.length > versionLengthMax) return undefined;
  const sent = sentType.safeParse(sentUpTo);
  const obeyed = policyType.optional().safeParse(policy);
  if (!sent.success || !obeyed.success) return undefined;
  return {
    state,
    agentVersion,
    ...(sent.data === undefined ? {} : { sentUpTo: sent.data }),
    ...(obeyed.data === undefined ? {} : { policy: obeyed.data }),
  };
}
