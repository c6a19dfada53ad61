/** What an error says, for a message or a field of the log. */

/** @param error - whatever was thrown; a stranger's code may throw what is no Error */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
