/** How long values are kept, as a setting. */
import { z } from 'zod';
import type { UpkeepPolicies } from '../database/upkeep.ts';

const daysMax = 36_500;
const perDayMax = 86_400;

const policyType = z
  .strictObject({
    thinned: z
      .strictObject({
        afterDays: z.int().min(1).max(daysMax).describe('until then every snapshot stays'),
        perDay: z
          .int()
          .min(1)
          .max(perDayMax)
          .describe('so many snapshots of a day stay, and of every channel its extremes'),
      })
      .optional(),
    droppedAfterDays: z
      .int()
      .min(1)
      .max(daysMax)
      .optional()
      .describe('then values and snapshots are deleted; not at all unless given'),
  })
  .refine(
    ({ thinned, droppedAfterDays }) =>
      thinned === undefined || droppedAfterDays === undefined || thinned.afterDays < droppedAfterDays,
    { error: 'would be dropped before it is thinned', path: ['droppedAfterDays'] },
  );

export const retentionType = z
  .strictObject({
    otherwise: policyType.prefault({}).describe('of every device type that is not named below'),
    byType: z.record(z.string(), policyType).default({}).describe('by name of the device type'),
  })
  .prefault({})
  .describe('how long values are kept; everything, forever, unless given')
  .transform(({ otherwise, byType }): UpkeepPolicies => ({
    otherwise: stated(otherwise),
    byType: Object.fromEntries(Object.entries(byType).map(([name, policy]) => [name, stated(policy)])),
  }));

/** Without what is undefined. */
function stated({ thinned, droppedAfterDays }: z.infer<typeof policyType>): UpkeepPolicies['otherwise'] {
  return {
    ...(thinned === undefined ? {} : { thinned }),
    ...(droppedAfterDays === undefined ? {} : { droppedAfterDays }),
  };
}
