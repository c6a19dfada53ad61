/** The configuration of a broker of several processes, or that is one node of several. */
import { z } from 'zod';
import type { ConfigTypes, Endpoint } from '../../runtime/config.ts';
import { endpointType } from '../../runtime/config.ts';

export interface ClusterConfig {
  readonly redis: string;
  readonly redisPasswordFile?: string | undefined;
  readonly redisCaFile?: string | undefined;
  readonly name: string;
  readonly node: string;
  readonly listen: Endpoint;
  readonly advertise: Endpoint;
  readonly leaseSeconds: number;
  readonly log: {
    readonly entriesMax: number;
    readonly bytesMax: number;
    readonly claimMinutes: number;
  };
  readonly restore: boolean;
}

export const processesType = z
  .int()
  .min(0)
  .max(64)
  .default(0)
  .describe(
    'processes that do handshakes and encryption for the one with the state, on four cores or more; 0: it does all itself',
  );

const nameType = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, { error: 'wanted 1 to 64 letters, digits, dots, underscores or hyphens' });

export function clusterType(types: ConfigTypes): z.ZodOptional<z.ZodType<ClusterConfig>> {
  return z
    .strictObject({
      redis: z
        .url({ protocol: /^rediss?$/ })
        .describe('Redis that all nodes share: redis:// or rediss://host:port/database'),
      redisPasswordFile: types.existingPath.optional().describe('its first line is the password'),
      redisCaFile: types.existingPath.optional().describe('the certificates (PEM) that rediss:// trusts'),
      name: nameType.default('broker').describe('of the cluster, the same on each of its nodes'),
      node: nameType.describe('of this node, another one on each'),
      listen: endpointType.describe('host:port for the other nodes'),
      advertise: endpointType.describe('host:port by which the other nodes reach `listen`'),
      leaseSeconds: z
        .number()
        .min(0.5)
        .max(60)
        .default(3)
        .describe('an active node that is silent for so long is replaced'),
      log: z
        .strictObject({
          entriesMax: z.int().min(1000).default(100_000).describe('entries of the log in Redis'),
          bytesMax: z
            .int()
            .min(1024 * 1024)
            .default(256 * 1024 ** 2)
            .describe('bytes of the log in Redis'),
          claimMinutes: z
            .number()
            .positive()
            .default(10)
            .describe('a node that is away for longer gets a snapshot when it is back'),
        })
        .prefault({}),
      restore: z
        .boolean()
        .default(false)
        .describe("Redis has lost the cluster's log: this node's copy is the one to go on with"),
    })
    .refine(({ redis, redisCaFile }) => redis.startsWith('rediss:') === (redisCaFile !== undefined), {
      error: 'rediss:// and `redisCaFile` belong together',
    })
    .optional();
}
