/** The rule files: YAML, one a device type, and `default.yaml` for every other type. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { isChannelName } from '../domain/snapshot.ts';
import { ConfigError, loadConfig } from '../runtime/config.ts';
import type { DeviceTypeRules, Rule } from './classification.ts';
import { comparatorOf } from './expression.ts';
import { ProcessError } from './process-error.ts';

/** The rules of every device type that has some, and those of all others. */
export interface RuleBook {
  readonly byType: ReadonlyMap<string, DeviceTypeRules>;
  readonly fallback: DeviceTypeRules;
}

const fallbackType = 'default';
const filesMax = 500;
const rulesMax = 100;
const holdMax = 1000;

const channel = z.string().refine(isChannelName, { error: 'is no channel name' });
const comparisonShape = {
  channel: channel.meta({ description: 'which channel is compared' }),
  is: z
    .string()
    .transform((text, context) => {
      const comparator = comparatorOf(text);
      if (comparator === undefined) context.addIssue('wanted one of = != < <= > >=');
      return comparator ?? z.NEVER;
    })
    .meta({ description: '= != < <= > >=' }),
  limit: z
    .union([z.number(), z.string(), z.boolean(), z.strictObject({ channel })])
    .meta({ description: 'a value, or another channel of the same snapshot' }),
};
const because = z.string().min(1).max(200).meta({ description: 'what it means, for people' }).optional();
const ruleSchema = z.union([
  z
    .strictObject({ ...comparisonShape, because })
    .transform(({ because, ...comparison }): Rule => ({ all: [comparison], because })),
  z
    .strictObject({ all: z.array(z.strictObject(comparisonShape)).min(1).max(10), because })
    .transform((rule): Rule => ({ all: rule.all, because: rule.because })),
]);
const hold = z.int().min(1).max(holdMax);

const rulesSchema = z.strictObject({
  deviceType: z
    .string()
    .min(1)
    .max(64)
    .meta({ description: 'the device type that snapshots state; "default" for all others' }),
  title: z.string().min(1).max(100).meta({ description: 'what people call such a device' }),
  hold: z
    .strictObject({ normal: hold.default(3), abnormal: hold.default(2), overdue: hold.default(2) })
    .prefault({})
    .meta({ description: 'how many consecutive snapshots must agree before the condition changes' }),
  abnormal: z.array(ruleSchema).max(rulesMax).default([]),
  overdue: z.array(ruleSchema).max(rulesMax).default([]),
  gauges: z
    .array(
      z
        .strictObject({
          label: z.string().min(1).max(60),
          channel,
          full: z.number().default(100),
          empty: z.number().default(0),
          part: z.string().min(1).max(120).optional(),
        })
        .refine((gauge) => gauge.full !== gauge.empty, { error: '"full" and "empty" are the same' }),
    )
    .max(12)
    .default([])
    .meta({ description: 'component life on the device page' }),
  figures: z
    .array(z.strictObject({ label: z.string().min(1).max(60), channel }))
    .max(12)
    .default([])
    .meta({ description: 'values that head the device page, such as operating hours' }),
});

/**
 * Reads every `*.yaml` of a folder.
 *
 * @throws ConfigError with every fault of a file; ProcessError `process.rules` if two files claim one type or none is the default
 */
export function loadRules(directory: string): RuleBook {
  const files = readdirSync(directory)
    .filter((name) => name.endsWith('.yaml'))
    .toSorted();
  if (files.length > filesMax)
    throw new ProcessError('process.rules', `${directory} has more than ${filesMax} files`);
  const byType = new Map<string, DeviceTypeRules>();
  for (const name of files) {
    const rules = loadConfig(path.join(directory, name), () => rulesSchema);
    if (byType.has(rules.deviceType)) {
      throw new ConfigError(path.join(directory, name), [
        { path: 'deviceType', message: `"${rules.deviceType}" has rules in another file already` },
      ]);
    }
    byType.set(rules.deviceType, rules);
  }
  const fallback = byType.get(fallbackType);
  if (fallback === undefined) {
    throw new ProcessError('process.rules', `${directory} has no file with "deviceType: ${fallbackType}"`);
  }
  return { byType, fallback };
}

/** @returns the rules of `deviceType`, or those for all other types */
export function rulesFor(book: RuleBook, deviceType: string): DeviceTypeRules {
  return book.byType.get(deviceType) ?? book.fallback;
}
