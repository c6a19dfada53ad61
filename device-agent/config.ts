/** The device agent's configuration file. */
import { z } from 'zod';
import { isChannelName } from '../domain/snapshot.ts';
import type { StaleCrlConfig } from '../pki/stale-crl-type.ts';
import { staleCrlType } from '../pki/stale-crl-type.ts';
import type { ConfigTypes, Endpoint } from '../runtime/config.ts';
import { endpointType, loadConfig } from '../runtime/config.ts';
import type { LogLevel } from '../runtime/log.ts';
import { logLevels } from '../runtime/log.ts';
import type { MachineCondition } from './collector/machine-model.ts';
import { machineConditions } from './collector/machine-model.ts';
import type { SimulatedType } from './collector/simulator-channels.ts';
import { simulatedTypes } from './collector/simulator-channels.ts';

export interface SimulatorConfig {
  readonly kind: 'simulator';
  readonly type: SimulatedType;
  readonly condition: MachineCondition;
  readonly intervalMs: number;
  readonly seed: number;
  readonly timeFactor: number;
  readonly usageEvery?: number | undefined;
}
export interface CsvConfig {
  readonly deviceType: string;
  readonly timeColumn?: string | undefined;
  readonly deviceColumn?: string | undefined;
  readonly delimiter: string;
  readonly start?: string | undefined;
  readonly intervalMs: number;
}
export type CollectorConfig =
  | SimulatorConfig
  | ({ readonly kind: 'csv'; readonly file: string } & Omit<CsvConfig, 'deviceColumn'>)
  | { readonly kind: 'stdin'; readonly deviceType: string };
export interface ReplayConfig {
  readonly file: string;
  readonly format: 'cmapss' | 'csv';
  readonly csv: CsvConfig;
  readonly speed: number | 'max';
  readonly units: Readonly<Record<string, string>> | string;
}
export interface DeviceConfig {
  readonly identity: string;
  readonly passphraseFile?: string | undefined;
  readonly collector?: CollectorConfig | undefined;
}
export interface AgentConfig {
  readonly broker: Endpoint;
  readonly brokerName: string | string[];
  readonly data: string;
  readonly recipients: readonly string[];
  readonly whenRecipientRevoked: 'leave-out' | 'stop';
  readonly policy: { readonly required: boolean; readonly asked: 'sealed' | 'withheld' };
  readonly staleCrl: StaleCrlConfig;
  readonly commandIssuers: readonly string[];
  readonly devices: readonly DeviceConfig[];
  readonly replay?: ReplayConfig | undefined;
  readonly renewal: { readonly enabled: boolean; readonly atFraction: number };
  readonly outbox: { readonly envelopesMax: number; readonly whenFull: 'refuse' | 'drop-oldest' };
  readonly drainSeconds: number;
  readonly observe?: Endpoint | undefined;
  readonly log: { readonly level: LogLevel };
}

const devicesMax = 1000;
const intervalMsMin = 10;
const intervalMsMax = 24 * 3_600_000;

const intervalType = z.int().min(intervalMsMin).max(intervalMsMax);
const deviceTypeType = z
  .string()
  .max(32)
  .refine(isChannelName, { error: 'not a device type: letters, digits, and - . _' })
  .describe('decides which rules and service intervals apply');

const simulatorType = z.strictObject({
  kind: z.literal('simulator'),
  type: z.enum(simulatedTypes).describe('FM: a fuel meter; PC: a particle counter'),
  condition: z.enum(machineConditions).default('healthy').describe('which life the machine leads'),
  intervalMs: intervalType.default(1000).describe('from sample to sample'),
  seed: z.int().min(0).default(1).describe('the same seed gives the same machine'),
  timeFactor: z.number().positive().max(1e6).default(1).describe("hours of the machine's life per hour"),
  usageEvery: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe(
      'every so many samples, the third among them, `usage.*` says how hard the machine is driven; never unless given',
    ),
});

const csvShape = {
  deviceType: deviceTypeType.default('CSV'),
  timeColumn: z.string().optional().describe('header: ISO 8601 with a zone, or seconds or ms since 1970'),
  delimiter: z
    .string()
    .length(1)
    .refine((text) => !/["\r\n]/.test(text), { error: 'a quote or a line end separates nothing' })
    .default(','),
  start: z.iso.datetime({ offset: true }).optional().describe('time of the first row without a time column'),
  intervalMs: intervalType.default(60_000).describe('from row to row without a time column'),
};
const deviceColumnType = z.string().optional().describe('header of the column that names the machine');

function deviceType(types: ConfigTypes): z.ZodType<DeviceConfig> {
  const collectorType = z.discriminatedUnion('kind', [
    simulatorType,
    z.strictObject({ kind: z.literal('csv'), file: types.existingPath, ...csvShape }),
    z.strictObject({ kind: z.literal('stdin'), deviceType: deviceTypeType.default('JSON') }),
  ]);
  return z.strictObject({
    identity: types.existingPath.describe('directory with the TLS, SIG and ENC keys of the device'),
    passphraseFile: types.existingPath.optional().describe('opens the keys of `identity`'),
    collector: collectorType.optional().describe('where its snapshots come from; `replay` without one'),
  });
}

function replayType(types: ConfigTypes): z.ZodType<ReplayConfig> {
  return z.strictObject({
    file: types.existingPath.describe('plain or gzip'),
    format: z.enum(['cmapss', 'csv']),
    csv: z.strictObject({ ...csvShape, deviceColumn: deviceColumnType }).prefault({}),
    speed: z
      .union([z.literal('max'), z.number().positive().max(10_000)])
      .default('max')
      .describe('snapshots per second and device; max leaves the pace to the outbox'),
    units: z
      .union([
        z.record(z.string(), z.string()),
        z.string().includes('{unit}', { error: 'a pattern has {unit} in it' }),
      ])
      .describe("from the file's name of a machine to the path of a device, or a pattern with {unit}"),
  });
}

/** @param types - resolve paths against the file's folder */
export function agentConfigType(types: ConfigTypes): z.ZodType<AgentConfig> {
  return z
    .strictObject({
      broker: endpointType.describe("host:port of the customer's or the vendor's broker"),
      brokerName: z
        .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
        .describe("common name that the broker's certificate carries"),
      data: types.path.describe('directory of the outbox and of the revocation lists'),
      recipients: z
        .array(types.existingPath)
        .min(1)
        .describe(
          'PEM files, each an ENC certificate and its CAs: who can read the snapshots, until a policy says',
        ),
      whenRecipientRevoked: z
        .enum(['leave-out', 'stop'])
        .default('leave-out')
        .describe('leave-out: it is sealed for the others; stop: nothing is sealed at all'),
      policy: z
        .strictObject({
          required: z
            .boolean()
            .default(false)
            .describe('true: nothing is sealed before a policy of an owner has come'),
          asked: z
            .enum(['sealed', 'withheld'])
            .default('withheld')
            .describe(
              'channels and commands that are `ask`; sealed (and obeyed): where an auditor enforces, who holds them until ' +
                'somebody has decided',
            ),
        })
        .prefault({}),
      staleCrl: staleCrlType,
      commandIssuers: z
        .array(types.existingPath)
        .default([])
        .describe('directories with sig.chain.pem and enc.chain.pem: whose commands are executed'),
      devices: z.array(deviceType(types)).min(1).max(devicesMax),
      replay: replayType(types).optional().describe('one recorded file for all devices without a collector'),
      renewal: z
        .strictObject({
          enabled: z.boolean().default(true).describe('false: somebody else renews the certificates in time'),
          atFraction: z
            .number()
            .positive()
            .max(0.9)
            .default(2 / 3)
            .describe('of the lifetime of the certificates: when new ones are asked for'),
        })
        .prefault({}),
      outbox: z
        .strictObject({
          envelopesMax: z.int().min(10).max(10_000_000).default(100_000).describe('of all devices together'),
          whenFull: z
            .enum(['refuse', 'drop-oldest'])
            .default('refuse')
            .describe('refuse: samples are not taken; drop-oldest: the oldest goes and leaves a gap'),
        })
        .prefault({}),
      drainSeconds: z.number().min(0).max(600).default(10).describe('how long a stop waits for deliveries'),
      observe: endpointType.optional().describe('host:port for /metrics, /healthz and /state'),
      log: z.strictObject({ level: z.enum(logLevels).default('info') }).prefault({}),
    })
    .superRefine(refuseContradictions);
}

function refuseContradictions(config: AgentConfig, context: z.core.$RefinementCtx<AgentConfig>): void {
  const collectors = config.devices.map((device) => device.collector);
  const fault = (path: (string | number)[], message: string): void => {
    context.addIssue({ code: 'custom', path, message });
  };
  if (collectors.filter((collector) => collector?.kind === 'stdin').length > 1) {
    fault(['devices'], 'standard input is one stream: at most one device reads it');
  }
  if (config.replay !== undefined && collectors.every((collector) => collector !== undefined)) {
    fault(['replay'], 'every device has a collector of its own, so nothing is left to replay to');
  }
  const identities = config.devices.map((device) => device.identity);
  for (const [index, identity] of identities.entries()) {
    if (identities.indexOf(identity) < index) {
      fault(['devices', index, 'identity'], 'this device is there a second time');
    }
  }
}

/** @throws ConfigError */
export function loadAgentConfig(file: string): AgentConfig {
  return loadConfig(file, agentConfigType);
}
