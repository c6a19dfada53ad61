/** The backend's configuration file. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import type { SharedInfoFlavour } from '../cms/kdf.ts';
import type { StorageForm } from '../database/schema.ts';
import { storageForms } from '../database/storage-of.ts';
import type { UpkeepPolicies } from '../database/upkeep.ts';
import { databaseUrlType } from '../database/url-type.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { levelOf, parseNamespacePath } from '../domain/namespace.ts';
import { mainGroup } from '../domain/policy.ts';
import { isGroupName } from '../domain/topic.ts';
import type { StaleCrlConfig } from '../pki/stale-crl-type.ts';
import { staleCrlType } from '../pki/stale-crl-type.ts';
import type { ConfigTypes, Endpoint } from '../runtime/config.ts';
import { endpointType, loadConfig } from '../runtime/config.ts';
import type { LogLevel } from '../runtime/log.ts';
import { logLevels } from '../runtime/log.ts';
import { queueMaxDefault } from './ingest.ts';
import { retentionType } from './retention-type.ts';

export interface BackendConfig {
  readonly broker: Endpoint;
  readonly brokerName: string | string[];
  readonly identity: string;
  readonly passphraseFile?: string | undefined;
  readonly commandIdentity?: string | undefined;
  readonly commandPassphraseFile?: string | undefined;
  readonly commandExpirySeconds: number;
  readonly commandReaders: readonly string[];
  readonly releasers: readonly string[];
  readonly reads?: ReadsConfig | undefined;
  readonly database: string;
  /** Absent: as the database says. */
  readonly storage?: StorageForm | undefined;
  readonly retention: UpkeepPolicies;
  readonly data: string;
  readonly ingest: IngestConfig;
  readonly share?: ShareConfig | undefined;
  readonly staleCrl: StaleCrlConfig;
  readonly http: { readonly listen: Endpoint; readonly publicUrl?: string | undefined };
  readonly kdfFlavours: readonly SharedInfoFlavour[];
  readonly allowUnsigned: boolean;
  readonly observe?: Endpoint | undefined;
  readonly log: { readonly level: LogLevel };
}

/** What a reader has who is not the vendor: a group of its own in the policies of some owners. */
export interface ReadsConfig {
  readonly group: string;
  readonly of: readonly NamespacePath[];
  readonly released: boolean;
}

/** One of several backends that share the work. */
export interface ShareConfig {
  readonly group: string;
  readonly instance: string;
  readonly takeoverSeconds: number;
}

export interface IngestConfig {
  readonly threads: number;
  readonly queue: number;
  /** Milliseconds. */
  readonly evidence?: number | undefined;
}

const commandExpirySecondsMax = 30 * 86_400;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

const evidenceType = z
  .string()
  .regex(/^[1-9]\d{0,4}[hd]$/, { error: 'wanted a number of hours or days, such as 36h or 30d' })
  .transform((text) => Number(text.slice(0, -1)) * (text.endsWith('d') ? dayMs : hourMs));

const ingestType = z
  .strictObject({
    threads: z
      .int()
      .min(1)
      .max(64)
      .default(availableParallelism())
      .describe('threads that verify and open envelopes; as many as there are cores'),
    queue: z
      .int()
      .min(16)
      .max(65_535)
      .default(queueMaxDefault)
      .describe('envelopes received and not committed; the rest waits with the broker'),
    evidence: evidenceType
      .optional()
      .describe('how long the sealed envelopes themselves are kept, such as 30d; not at all unless given'),
  })
  .prefault({});

const ownerType = z.string().transform((text, context) => {
  const path = parseNamespacePath(text);
  if (path !== undefined && levelOf(path) !== 'device') return path;
  context.addIssue(`"${text}" is no master account and no account`);
  return z.NEVER;
});

const readsType = z
  .strictObject({
    group: z
      .string()
      .refine((name) => isGroupName(name) && name !== mainGroup, {
        error: 'wanted the name of a group of readers that is not the main one',
      })
      .describe("its name in the owners' policies"),
    of: z.array(ownerType).min(1).max(1000).describe('master accounts or accounts that share with it'),
    released: z
      .boolean()
      .default(false)
      .describe("true on a customer's own broker: what its auditor has released, and nothing before"),
  })
  .describe('for a reader who is not the vendor: the stream of its group, in place of the main one');

const shareName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,20}$/, { error: 'wanted 1 to 20 of A-Z a-z 0-9 . _ -' });

const shareType = z
  .strictObject({
    group: shareName
      .default('backends')
      .describe('the same for all that share; a part of the shared subscription'),
    instance: shareName.describe('another for each of them'),
    takeoverSeconds: z
      .int()
      .min(1)
      .max(86_400)
      .default(30)
      .describe('what waits for a backend that is away so long goes to the others'),
  })
  .describe(
    'several backends share the work, each with a file like this and all with one database on a server',
  );

/** @throws ConfigError with every fault at once */
export function loadBackendConfig(file: string): BackendConfig {
  return loadConfig(file, backendConfigType);
}

export function backendConfigType(types: ConfigTypes): z.ZodType<BackendConfig> {
  return z
    .strictObject({
      broker: endpointType.describe('the vendor broker'),
      brokerName: z
        .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
        .describe("the name that the broker's certificate must carry, or several"),
      identity: types.existingPath.describe(
        'directory with the keys of vendor-snapshot-service, or of another reader (`reads`)',
      ),
      passphraseFile: types.existingPath.optional().describe('opens the keys of `identity`'),
      commandIdentity: types.existingPath
        .optional()
        .describe('directory with the keys of vendor-command-service; without it, no commands are sent'),
      commandPassphraseFile: types.existingPath.optional().describe('opens the keys of `commandIdentity`'),
      commandExpirySeconds: z
        .int()
        .min(1)
        .max(commandExpirySecondsMax)
        .default(3600)
        .describe('a device refuses a command that is older'),
      commandReaders: z
        .array(types.existingPath)
        .default([])
        .describe("ENC certificates of customers' auditors, who can read the commands to their own devices"),
      releasers: z
        .array(types.existingPath)
        .default([])
        .describe(
          "SIG certificates of customers' auditors: of their devices, only what these have signed too is stored",
        ),
      reads: readsType.optional(),
      database: databaseUrlType(types).describe('sqlite:./file or mysql://user:password@host:port/database'),
      storage: z
        .enum(storageForms)
        .optional()
        .describe(
          'how values rest in a new database: chunks, compact and quick, or rows, for SQL of your own; chunks unless given',
        ),
      retention: retentionType,
      data: types.path
        .prefault('./data/backend')
        .describe('directory of what it keeps beside the database: the revocation lists'),
      ingest: ingestType,
      share: shareType.optional(),
      staleCrl: staleCrlType,
      http: z.strictObject({
        listen: endpointType.describe('where the dashboard and its API are; plain HTTP, for a TLS proxy'),
        publicUrl: z
          .url({ protocol: /^https?$/ })
          .optional()
          .describe('how browsers reach it, if that is not by the address above'),
      }),
      kdfFlavours: z
        .array(z.enum(['rfc5753', 'bc']))
        .min(1)
        .default(['rfc5753'])
        .describe('accepted key derivations, in the order in which they are tried'),
      allowUnsigned: z.boolean().default(false).describe('accept envelopes without a signature'),
      observe: endpointType.optional().describe('metrics, health and state; bind it to a private address'),
      log: z.strictObject({ level: z.enum(logLevels).default('info') }).prefault({}),
    })
    .refine((config) => config.reads === undefined || config.commandIdentity === undefined, {
      error: 'a reader of a shared stream commands nobody',
      path: ['commandIdentity'],
    })
    .refine((config) => config.commandPassphraseFile === undefined || config.commandIdentity !== undefined, {
      error: 'opens nothing without `commandIdentity`',
      path: ['commandPassphraseFile'],
    });
}
