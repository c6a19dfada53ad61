/** Every coded error as an HTTP answer, in one table; what is not in it is a bare 500 and a line in the log. */
import type { FastifyInstance } from 'fastify';
import { DatabaseError, isUnavailable } from '../../database/errors.ts';
import type { DatabaseErrorCode } from '../../database/errors.ts';
import type { Log } from '../../runtime/log.ts';
import { CommandServiceError } from '../commands.ts';
import type { CommandServiceErrorCode } from '../commands.ts';
import { ApiError } from './context.ts';
import type { ApiErrorCode } from './context.ts';

const statuses: Readonly<Record<ApiErrorCode | CommandServiceErrorCode | DatabaseErrorCode, number>> = {
  'api.unauthenticated': 401,
  'api.forbidden': 403,
  'api.foreign_origin': 403,
  'api.not_found': 404,
  'api.malformed': 400,
  'api.rate_limited': 429,
  'api.unavailable': 503,
  'command.unknown_device': 409,
  'command.revoked_device': 409,
  'command.unsealable': 409,
  'database.conflict': 409,
  'database.unavailable': 503,
  'database.replaced': 503,
  'database.damaged': 500,
  'database.newer': 500,
  'database.url': 500,
};

export function registerErrors(server: FastifyInstance, log: Log): void {
  server.setErrorHandler((error, request, reply) => {
    const { status, code, message } = answerFor(error);
    if (status >= 500) {
      log.error(
        { method: request.method, url: request.routeOptions.url, error: String(error) },
        'request.failed',
      );
    }
    return reply.code(status).send({ code, message });
  });
  server.setNotFoundHandler((_request, reply) =>
    reply.code(404).send({ code: 'api.not_found', message: 'there is nothing at this address' }),
  );
}

function answerFor(error: unknown): { status: number; code: string; message: string } {
  if (error instanceof ApiError || error instanceof CommandServiceError) {
    return { status: statuses[error.code], code: error.code, message: error.message };
  }
  if (isUnavailable(error)) {
    return {
      status: 503,
      code: 'database.unavailable',
      message: 'the database does not answer at the moment',
    };
  }
  if (error instanceof DatabaseError) {
    return { status: statuses[error.code], code: error.code, message: error.message };
  }
  // Fastify's own: a body that is no JSON, too long, or of another type.
  if (
    error instanceof Error &&
    'statusCode' in error &&
    typeof error.statusCode === 'number' &&
    error.statusCode < 500
  ) {
    return { status: error.statusCode, code: 'api.malformed', message: error.message };
  }
  return { status: 500, code: 'internal', message: 'something went wrong on the server' };
}
