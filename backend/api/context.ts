/** What every route gets. */
import type { FastifyRequest } from 'fastify';
import type { Database } from '../../database/connect.ts';
import type { User } from '../../database/users.ts';
import type { Clock } from '../../domain/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { ApiError } from '../../web/api-error.ts';
import type { Sessions } from '../../web/session.ts';
import type { CommandService } from '../commands.ts';
import type { Feed } from '../feed.ts';

export interface ApiContext extends Sessions<User> {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly feed: Feed;
  /** Undefined where no command identity is configured. */
  readonly commands: CommandService | undefined;
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
