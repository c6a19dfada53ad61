/** What an API may answer instead of what was asked for, and the check of what comes from outside. */
import type { z } from 'zod';

export type ApiErrorCode =
  | 'api.unauthenticated' // no session, or one that has ended
  | 'api.forbidden' // the role may not do that
  | 'api.not_found' // it is not there, or outside the scope: nobody learns which
  | 'api.malformed' // a parameter is missing or out of range
  | 'api.foreign_origin' // a change that another site asked for
  | 'api.conflict' // somebody else was faster
  | 'api.rate_limited'
  | 'api.unavailable'; // what it needs is not configured or not there now

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiErrorCode;
  constructor(code: ApiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** @throws ApiError `api.malformed` with every fault */
export function parse<T>(type: z.ZodType<T>, value: unknown): T {
  const parsed = type.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw new ApiError('api.malformed', faults.join('; '));
}
