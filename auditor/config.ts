/** The auditor's configuration file. */
import { z } from 'zod';
import type { StaleCrlConfig } from '../pki/stale-crl-type.ts';
import { staleCrlType } from '../pki/stale-crl-type.ts';
import type { ConfigTypes, Endpoint } from '../runtime/config.ts';
import { endpointType, loadConfig } from '../runtime/config.ts';
import type { LogLevel } from '../runtime/log.ts';
import { logLevels } from '../runtime/log.ts';

/** The page for people. */
export interface PageConfig {
  readonly listen: Endpoint;
  readonly publicUrl?: string | undefined;
}

export interface AuditorConfig {
  readonly broker: Endpoint;
  readonly brokerName: string | string[];
  readonly identity: string;
  readonly passphraseFile?: string | undefined;
  readonly data: string;
  readonly mode: 'observe' | 'enforce';
  readonly ask: { readonly deadlineHours: number; readonly atDeadline: 'release' | 'deny' };
  readonly withoutPolicy: 'release' | 'hold';
  readonly policyGraceHours: number;
  readonly recipients: readonly string[];
  readonly commandIssuers: readonly string[];
  readonly certificatesWaitSeconds: number;
  readonly headEverySeconds: number;
  readonly countersign: boolean;
  readonly archive: { readonly days: number; readonly megabytes: number };
  readonly staleCrl: StaleCrlConfig;
  readonly page?: PageConfig | undefined;
  readonly observe?: Endpoint | undefined;
  readonly log: { readonly level: LogLevel };
}

/** What becomes of what leaves and comes in. */
const decisions = {
  mode: z
    .enum(['observe', 'enforce'])
    .default('observe')
    .describe(
      'enforce: nothing leaves before it is released; the cascade of the broker has to say `forward: released`',
    ),
  ask: z
    .strictObject({
      deadlineHours: z
        .number()
        .positive()
        .max(8784)
        .default(72)
        .describe('how long a person has to decide what the policy asks about'),
      atDeadline: z.enum(['release', 'deny']).default('deny').describe('what happens if nobody does'),
    })
    .prefault({})
    .describe('what is held until a person decides'),
  withoutPolicy: z
    .enum(['release', 'hold'])
    .default('hold')
    .describe(
      'what becomes of envelopes and commands of a device that no policy speaks of; observing, nothing',
    ),
  policyGraceHours: z
    .number()
    .min(0)
    .max(8784)
    .default(24)
    .describe(
      'how long after a change of policy what a device sealed before leaves as it was granted then; later a person is asked',
    ),
} as const;

/** @param types - resolve paths against the file's folder */
export function auditorConfigType(types: ConfigTypes): z.ZodType<AuditorConfig> {
  return z.strictObject({
    broker: endpointType.describe("host:port of the customer's broker"),
    brokerName: z
      .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
      .describe("common name that the broker's certificate carries"),
    identity: types.existingPath.describe('directory with the TLS, SIG and ENC keys of the (master) account'),
    passphraseFile: types.existingPath.optional().describe('opens the keys of `identity`'),
    data: types.path.describe('directory of the ledger, what is kept beside it, and the revocation lists'),
    ...decisions,
    recipients: z
      .array(types.existingPath)
      .min(1)
      .describe('PEM files of everyone who may read what leaves; anybody else raises an alarm'),
    commandIssuers: z
      .array(types.existingPath)
      .default([])
      .describe(
        'directories with sig.chain.pem and enc.chain.pem: whose commands are recorded; without any, none are',
      ),
    certificatesWaitSeconds: z
      .number()
      .min(0)
      .max(3600)
      .default(30)
      .describe('how long an envelope waits for the certificates of its device'),
    headEverySeconds: z
      .number()
      .min(0.1)
      .max(86_400)
      .default(60)
      .describe('how often the ledger is signed for, if anything is new in it'),
    countersign: z
      .boolean()
      .default(true)
      .describe('show the vendor the heads of the ledger, so that both can prove the same history'),
    archive: z
      .strictObject({
        days: z
          .int()
          .min(0)
          .max(36_600)
          .default(30)
          .describe('how long each envelope is kept, sealed as it came; 0: none is'),
        megabytes: z.int().min(1).max(10_000_000).default(1000).describe('at most; the oldest go first'),
      })
      .prefault({})
      .describe('the envelopes that exports and data sheets are made of'),
    staleCrl: staleCrlType,
    page: z
      .strictObject({
        listen: endpointType.describe('where the page is; plain HTTP, for loopback or a TLS proxy'),
        publicUrl: z
          .url({ protocol: /^https?$/ })
          .optional()
          .describe('how browsers reach it, if not by that address; https makes the cookie secure'),
      })
      .optional()
      .describe(
        'a page on the premises: what left, what is held, the ledger; `plombe auditor user add` makes accounts',
      ),
    observe: endpointType.optional().describe('host:port for /metrics, /healthz and /state'),
    log: z.strictObject({ level: z.enum(logLevels).default('info') }).prefault({}),
  });
}

/** @throws ConfigError */
export function loadAuditorConfig(file: string): AuditorConfig {
  return loadConfig(file, auditorConfigType);
}
