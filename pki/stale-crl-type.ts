/** How a configuration says what a missing or outdated revocation list means. */
import { z } from 'zod';
import type { StalePolicy } from './revocation.ts';

export interface StaleCrlConfig {
  readonly action: 'refuse' | 'warn';
  readonly afterHours?: number | undefined;
}

const hourMs = 3_600_000;

export const staleCrlType: z.ZodType<StaleCrlConfig> = z
  .strictObject({
    action: z.enum(['refuse', 'warn']).default('warn'),
    afterHours: z
      .number()
      .positive()
      .optional()
      .describe("since the list's issue; its own next update unless given"),
  })
  .prefault({})
  .describe('what a missing or outdated revocation list means');

export function stalePolicyOf({ action, afterHours }: StaleCrlConfig): StalePolicy {
  return { action, ...(afterHours === undefined ? {} : { staleAfterMs: afterHours * hourMs }) };
}
