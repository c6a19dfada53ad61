/** The coded errors of the backend's own as HTTP answers, in one table. */
import { DatabaseError, isUnavailable } from '../../database/errors.ts';
import type { DatabaseErrorCode } from '../../database/errors.ts';
import type { ErrorAnswer } from '../../web/errors.ts';
import { CommandServiceError } from '../commands.ts';
import type { CommandServiceErrorCode } from '../commands.ts';

const statuses: Readonly<Record<CommandServiceErrorCode | DatabaseErrorCode, number>> = {
  'command.unknown_device': 409,
  'command.revoked_device': 409,
  'command.unsealable': 409,
  'database.conflict': 409,
  'database.unavailable': 503,
  'database.replaced': 503,
  'database.damaged': 500,
  'database.newer': 500,
  'database.older': 500,
  'database.foreign': 500,
  'database.url': 500,
};

export function backendAnswer(error: unknown): ErrorAnswer | undefined {
  if (error instanceof CommandServiceError) {
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
  return undefined;
}
