/** The part of the broker's configuration that is about its upstream. */
import { z } from 'zod';
import { isTopicFilter } from '../../domain/topic.ts';
import type { ConfigTypes, Endpoint } from '../../runtime/config.ts';
import { endpointType } from '../../runtime/config.ts';
import type { Mapping } from './topic-map.ts';

/** A filter, or a filter here and its counterpart there. */
export type CarriedTopics = string | Mapping;

export interface CascadeConfig {
  readonly upstream: Endpoint | Endpoint[];
  readonly brokerName: string | string[];
  readonly identity?: string | undefined;
  readonly passphraseFile?: string | undefined;
  readonly forward: 'all' | 'released';
  readonly deliver: 'all' | 'released';
  readonly up?: CarriedTopics[] | undefined;
  readonly down?: CarriedTopics[] | undefined;
  readonly retainDown?: string[] | undefined;
  readonly inFlightMax: number;
  readonly keepAliveSeconds: number;
  readonly bandwidth: BandwidthConfig;
  readonly queue: UpQueueConfig;
}

export interface BandwidthConfig {
  readonly bytesPerSecondMax?: number | undefined;
  readonly burstBytes?: number | undefined;
}

export interface UpQueueConfig {
  readonly messagesMax?: number | undefined;
  readonly bytesMax?: number | undefined;
  readonly ageHoursMax?: number | undefined;
  readonly hangUpsMax: number;
  readonly whenFull?: 'refuse' | 'drop-oldest' | undefined;
}

const upstreamsMax = 8;
const filterType = z
  .string()
  .refine(isTopicFilter, { error: (issue) => `not a topic filter: ${JSON.stringify(issue.input)}` });
const carriedType = z.union([filterType, z.strictObject({ local: filterType, remote: filterType })]);
const brokerNameType = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const positive = z.int().min(1).optional();

export function cascadeType(types: ConfigTypes): z.ZodOptional<z.ZodType<CascadeConfig>> {
  return z
    .strictObject({
      upstream: z
        .union([endpointType, z.array(endpointType).min(1).max(upstreamsMax)])
        .describe('host:port of the upstream broker, or several in order of preference'),
      brokerName: brokerNameType.describe("common name that the upstream broker's certificate carries"),
      identity: types.existingPath.optional().describe("key directory; the broker's own unless given"),
      passphraseFile: types.existingPath.optional().describe('opens the keys of `identity`'),
      forward: z
        .enum(['all', 'released'])
        .default('all')
        .describe("released: of what is sealed, only what this owner's auditor has released goes up"),
      deliver: z
        .enum(['all', 'released'])
        .default('all')
        .describe("released: commands that come down reach a device only if its owner's auditor lets them"),
      up: z
        .array(carriedType)
        .optional()
        .describe("what goes up; a master account's device topics unless given; { local, remote } renames"),
      down: z.array(carriedType).optional().describe('what comes down, likewise'),
      retainDown: z
        .array(filterType)
        .optional()
        .describe('of what comes down, what is kept as retained here; only for an upstream of MQTT 3.1.1'),
      inFlightMax: z
        .int()
        .min(1)
        .max(10_000)
        .default(512)
        .describe('messages sent up and not acknowledged yet'),
      keepAliveSeconds: z
        .int()
        .min(1)
        .max(3600)
        .default(30)
        .describe('within this a connection that died silently is noticed'),
      bandwidth: z
        .strictObject({
          bytesPerSecondMax: positive.describe('of what is sent up; no cap unless given'),
          burstBytes: positive.describe('what may go at once after silence; one second unless given'),
        })
        .prefault({}),
      queue: z
        .strictObject({
          messagesMax: positive.describe('that wait for the upstream; limits.queuedMessagesMax unless given'),
          bytesMax: positive.describe('that wait for the upstream; limits.queuedBytesMax unless given'),
          ageHoursMax: z
            .number()
            .positive()
            .optional()
            .describe('what waited longer is dropped; it waits as long as it takes unless given'),
          hangUpsMax: z
            .int()
            .min(2)
            .default(10)
            .describe(
              'times in a row, over a minute at least, that the upstream hangs up on one message that went alone, before ' +
                'it is set aside',
            ),
          whenFull: z
            .enum(['refuse', 'drop-oldest'])
            .optional()
            .describe("refuse the publisher, or drop the oldest; the broker's queueFull unless given"),
        })
        .prefault({}),
    })
    .refine(({ forward, up }) => forward === 'all' || up === undefined, {
      error: '`forward: released` says what goes up; `up` would say it again',
      path: ['up'],
    })
    .refine(({ deliver, down }) => deliver === 'all' || down === undefined, {
      error: '`deliver: released` says what comes down; `down` would say it again',
      path: ['down'],
    })
    .optional();
}
