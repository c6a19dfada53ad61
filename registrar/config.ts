/** The registrar's configuration file. */
import { z } from 'zod';
import { expiredGraceDaysMax } from '../domain/limits.ts';
import type { ConfigTypes, Endpoint } from '../runtime/config.ts';
import { endpointType, loadConfig } from '../runtime/config.ts';
import type { LogLevel } from '../runtime/log.ts';
import { logLevels } from '../runtime/log.ts';

export interface RegistrarConfig {
  readonly broker: Endpoint;
  readonly brokerName: string | string[];
  readonly authority: string;
  readonly authorityPassphraseFile?: string | undefined;
  readonly identity: string;
  readonly crlIdentity: string;
  readonly passphraseFile?: string | undefined;
  readonly data: string;
  readonly certificateDays: number;
  readonly crlDays: number;
  readonly expiredGraceDays: number;
  readonly observe?: Endpoint | undefined;
  readonly log: { readonly level: LogLevel };
}

/** @param types - resolve paths against the file's folder */
export function registrarConfigType(types: ConfigTypes): z.ZodType<RegistrarConfig> {
  return z.strictObject({
    broker: endpointType.describe("host:port of the vendor's broker"),
    brokerName: z
      .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
      .describe("the name that the broker's certificate must carry, or several"),
    authority: types.existingPath.describe('directory of the authority, as `plombe pki init` makes it'),
    authorityPassphraseFile: types.existingPath
      .optional()
      .describe("its first line opens the keys of the authority's CAs"),
    identity: types.existingPath.describe('directory with the keys of vendor-enrolment-service'),
    crlIdentity: types.existingPath.describe('directory with the TLS keys of vendor-crl-service'),
    passphraseFile: types.existingPath.optional().describe('opens the keys of both identities'),
    data: types.path.describe('directory of the journal'),
    certificateDays: z
      .int()
      .min(1)
      .max(3650)
      .default(730)
      .describe('lifetime of the certificates of devices'),
    crlDays: z
      .number()
      .min(0.01)
      .max(365)
      .default(7)
      .describe('lifetime of revocation lists; new ones are issued when half of it is over'),
    expiredGraceDays: z
      .int()
      .min(0)
      .max(expiredGraceDaysMax)
      .default(365)
      .describe('a device whose certificate expired no longer ago may ask its owner for a new one'),
    observe: endpointType.optional().describe('host:port for /metrics, /healthz and /state'),
    log: z.strictObject({ level: z.enum(logLevels).default('info') }).prefault({}),
  });
}

/** @throws ConfigError */
export function loadRegistrarConfig(file: string): RegistrarConfig {
  return loadConfig(file, registrarConfigType);
}
