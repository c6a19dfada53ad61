/** What every route gets, and the errors that it may answer with. */
import type { FastifyRequest } from 'fastify';
import type { Database } from '../../database/connect.ts';
import type { User } from '../../database/users.ts';
import type { Clock } from '../../domain/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { CommandService } from '../commands.ts';
import type { Feed } from '../feed.ts';

export interface ApiContext {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly feed: Feed;
  /** Undefined where no command identity is configured. */
  readonly commands: CommandService | undefined;
  /** @throws ApiError `api.unauthenticated` */
  requireUser(request: FastifyRequest): User;
}

export type ApiErrorCode =
  | 'api.unauthenticated' // no session, or one that has ended
  | 'api.forbidden' // the role may not do that
  | 'api.not_found' // it is not there, or outside the scope: nobody learns which
  | 'api.malformed' // a parameter is missing or out of range
  | 'api.foreign_origin' // a change that another site asked for
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

/** @throws ApiError `api.unauthenticated`, `api.forbidden` */
export function requireRole(
  context: ApiContext,
  request: FastifyRequest,
  ...roles: readonly User['role'][]
): User {
  const user = context.requireUser(request);
  if (roles.includes(user.role)) return user;
  throw new ApiError('api.forbidden', `a ${user.role} may not do that`);
}
