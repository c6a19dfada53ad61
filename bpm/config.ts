/** The configuration file of bpm. */
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { databaseUrlType } from '../database/url-type.ts';
import type { ConfigTypes } from '../runtime/config.ts';
import { endpointType } from '../runtime/config.ts';
import { logLevels } from '../runtime/log.ts';

const recipientsMax = 50;
const address = z.string().regex(/^[^\s,<>@]+@[^\s,<>@]+$/, { error: 'is no mail address' });
const httpUrl = z.url({ protocol: /^https?$/, error: 'wanted an http:// or https:// URL' });

function shipped(folder: string): string {
  return fileURLToPath(new URL(`./${folder}`, import.meta.url));
}

export function bpmConfigSchema(types: ConfigTypes) {
  const gateway = z.strictObject({
    url: httpUrl.meta({ description: 'takes {id, to, subject, text} as JSON by POST, and answers 2xx' }),
    tokenFile: types.existingPath.optional().meta({ description: 'a bearer token, in a file of its own' }),
  });
  return z.strictObject({
    database: databaseUrlType(types).meta({
      description: 'the same as the backend: sqlite:FILE or mysql://…',
    }),
    processes: types.existingPath
      .default(shipped('processes'))
      .meta({ description: 'folder of .bpmn files; the one with the id "condition" is started' }),
    rules: types.existingPath
      .default(shipped('rules'))
      .meta({ description: 'folder of .yaml files, one a device type and a default' }),
    mail: z
      .strictObject({
        smtp: z.url({ protocol: /^smtps?$/, error: 'wanted an smtp:// or smtps:// URL' }),
        from: address,
        to: z.array(address).min(1).max(recipientsMax).meta({ description: 'the list' }),
      })
      .optional()
      .meta({ description: 'without it mails are listed on the dashboard' }),
    sms: gateway.optional().meta({ description: 'without it text messages are listed on the dashboard' }),
    webhook: gateway.optional().meta({ description: 'what service tasks call' }),
    technician: z
      .strictObject({
        mail: address.optional(),
        phone: z
          .string()
          .regex(/^\+?[0-9 ()/-]{3,30}$/, { error: 'is no telephone number' })
          .optional(),
      })
      .prefault({})
      .meta({ description: 'the technician in charge' }),
    pollIntervalMs: z.int().min(50).max(60_000).default(500),
    observe: endpointType.optional(),
    log: z.strictObject({ level: z.enum(logLevels).default('info') }).prefault({}),
  });
}

export type BpmConfig = z.output<ReturnType<typeof bpmConfigSchema>>;
