/** Every coded error as an HTTP answer; what nobody knows is a bare 500 and a line in the log. */
import type { FastifyInstance } from 'fastify';
import type { Log } from '../runtime/log.ts';
import { ApiError } from './api-error.ts';
import type { ApiErrorCode } from './api-error.ts';

export interface ErrorAnswer {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

const statuses: Readonly<Record<ApiErrorCode, number>> = {
  'api.unauthenticated': 401,
  'api.forbidden': 403,
  'api.foreign_origin': 403,
  'api.not_found': 404,
  'api.malformed': 400,
  'api.conflict': 409,
  'api.rate_limited': 429,
  'api.unavailable': 503,
};

/** @param ownAnswer - for the coded errors of the program itself; undefined for all others */
export function registerErrors(
  server: FastifyInstance,
  log: Log,
  ownAnswer: (error: unknown) => ErrorAnswer | undefined,
): void {
  server.setErrorHandler((error, request, reply) => {
    const { status, code, message } = ownAnswer(error) ?? answerFor(error);
    if (status >= 500) {
      log.error(
        { method: request.method, url: request.routeOptions.url, error: String(error) },
        'request.failed',
      );
    }
    // Whatever the answer was going to be, it is none of that.
    void reply.removeHeader('content-disposition').type('application/json; charset=utf-8');
    return reply.code(status).send({ code, message });
  });
  server.setNotFoundHandler((_request, reply) =>
    reply.code(404).send({ code: 'api.not_found', message: 'there is nothing at this address' }),
  );
}

function answerFor(error: unknown): ErrorAnswer {
  if (error instanceof ApiError)
    return { status: statuses[error.code], code: error.code, message: error.message };
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
