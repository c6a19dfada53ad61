/** The broker's configuration file. */
import { z } from 'zod';
import { expiredGraceDaysMax } from '../domain/limits.ts';
import { isTopicFilter } from '../domain/topic.ts';
import { staleCrlType } from '../pki/stale-crl-type.ts';
import type { ConfigTypes } from '../runtime/config.ts';
import { endpointType } from '../runtime/config.ts';
import { logLevels } from '../runtime/log.ts';
import { cascadeType } from './cascade/cascade-config.ts';
import { limitsType } from './limits.ts';
import { clusterType, processesType } from './nodes/cluster-config.ts';

const filterType = z
  .string()
  .refine(isTopicFilter, { error: (issue) => `not a topic filter: ${JSON.stringify(issue.input)}` });

const originType = z.string().refine((text) => URL.canParse(text) && new URL(text).origin === text, {
  error: (issue) => `not an origin such as https://fleet.example: ${JSON.stringify(issue.input)}`,
});

const expiredGraceDaysType = z
  .int()
  .min(0)
  .max(expiredGraceDaysMax)
  .default(365)
  .describe(
    'a device whose certificate expired no longer ago may connect to ask for a new one, and for nothing else',
  );

export const rolesType = z
  .record(
    z.string().min(1).max(64),
    z.strictObject({
      publish: z.array(filterType).optional().describe('topic filters it may publish to'),
      subscribe: z.array(filterType).optional().describe('topic filters it may subscribe to'),
    }),
  )
  .optional()
  .describe('rows that replace or add to the default roles of the services, by common name');

const expectedSessionsType = z
  .array(
    z.strictObject({
      identity: z.string().min(1).max(64).describe('common name of the client'),
      clientId: z.string().min(1).max(256),
      subscriptions: z.array(filterType).min(1).max(100).describe('filters, at QoS 1'),
    }),
  )
  .max(1000)
  .default([])
  .describe('sessions that exist before their clients first connect, so that these miss nothing');

const shutdownType = z
  .strictObject({
    delaySeconds: z
      .int()
      .min(0)
      .max(300)
      .default(0)
      .describe('how long it still serves while /readyz says no already, for a balancer to notice'),
    cascadeSeconds: z
      .int()
      .min(0)
      .max(60)
      .default(5)
      .describe('how long the upstream may take to acknowledge what is on its way; the rest waits on disk'),
    serverReference: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe('where clients of MQTT 5 are sent, as host:port; otherwise they are told that it stops'),
  })
  .prefault({})
  .describe('the way to stop');

const logType = z
  .strictObject({
    level: z.enum(logLevels).default('info'),
    linesPerSecondMax: z
      .int()
      .min(5)
      .default(100)
      .describe('of one event with one reason, a fifth of it for one identity; the rest is counted'),
  })
  .prefault({});

/** @param types - resolve paths against the file's folder */
export function brokerConfigType(types: ConfigTypes) {
  return z.strictObject({
    name: z.string().min(1).max(64).describe('for the log and $SYS'),
    listen: endpointType.describe('host:port for MQTT over TLS'),
    listenWebSocket: endpointType
      .optional()
      .describe('host:port for MQTT over WebSocket over TLS, with the same certificates and rights'),
    webSocketOrigins: z
      .array(originType)
      .max(100)
      .default([])
      .describe('pages of these origins may connect, such as https://fleet.example; none unless given'),
    identity: types.existingPath.describe('directory with tls.key.pem, tls.chain.pem and tls-root.crt.pem'),
    passphraseFile: types.existingPath.optional().describe('opens the keys of `identity`'),
    data: types.path.describe('directory of the durable state'),
    processes: processesType,
    cluster: clusterType(types).describe('makes this broker one node of several that share Redis'),
    durability: z
      .enum(['disk', 'os'])
      .default('disk')
      .describe('disk: acknowledged means synced, survives a power cut; os: survives the end of the process'),
    deniedPublish: z
      .enum(['close', 'drop'])
      .default('close')
      .describe('MQTT 3.1.1 cannot refuse a PUBLISH: close the connection, or acknowledge and drop'),
    queueFull: z
      .enum(['refuse', 'drop-oldest'])
      .default('refuse')
      .describe(
        'when a stored queue is full: refuse the publisher (closed, not acknowledged), or drop the oldest',
      ),
    limits: limitsType.prefault({}),
    roles: rolesType,
    crls: z
      .array(types.existingPath)
      .optional()
      .describe('CRL bundles (PEM) of the TLS PKI, read at the start and when they change'),
    staleCrl: staleCrlType,
    expiredGraceDays: expiredGraceDaysType,
    expectedSessions: expectedSessionsType,
    cascade: cascadeType(types),
    observe: endpointType
      .optional()
      .describe('host:port for /metrics, /healthz, /readyz and /state, on a private network'),
    readyNeedsCascade: z
      .boolean()
      .default(false)
      .describe('not ready while the upstream is not connected; otherwise what waits for it is no obstacle'),
    shutdown: shutdownType,
    log: logType,
  });
}

export type BrokerConfig = z.infer<ReturnType<typeof brokerConfigType>>;
