/** Commands to devices, from the moment somebody asked until the device answered or it was too late. */
import type { CommandOutcome } from '../domain/command.ts';
import { noteChange } from './changes.ts';
import type { Database } from './connect.ts';
import { isConflict, DatabaseError } from './errors.ts';
import { ensureDevice } from './fleet.ts';
import type { CommandState } from './schema.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

export interface NewCommand {
  /** A UUID. */
  readonly id: string;
  readonly path: string;
  readonly name: string;
  readonly parameters: Readonly<Record<string, string | number | boolean>>;
  /** The name of a user. */
  readonly issuedBy: string;
  readonly issuedMs: number;
  readonly expiresMs: number;
}

export interface CommandRow extends NewCommand {
  readonly state: CommandState;
  readonly stateMs: number;
  readonly detail: string;
}

const commandsShownMax = 200;
const unfinished: readonly CommandState[] = ['sent', 'delivered'];
const detailLengthMax = 1000;

/** Where a command's envelope stands among those of the service that issues it. */
export interface CommandPlace {
  readonly sequence: number;
  /** Undefined for the first. */
  readonly previousDigest: Uint8Array | undefined;
}

export interface SealedCommand {
  readonly envelope: Uint8Array;
  readonly digest: Uint8Array;
}

/**
 * Seals a command and keeps it, so that whatever happens next, a sequence is used once and what is sent again is the same.
 *
 * @throws DatabaseError `database.conflict` if the id was used
 */
export async function addCommand(
  database: Database,
  command: NewCommand,
  seal: (place: CommandPlace) => SealedCommand,
): Promise<void> {
  const deviceId = await ensureDevice(database, command.path, command.issuedMs);
  try {
    await database.transaction(async (transaction) => {
      const last = await transaction
        .selectFrom('command')
        .select(['sequence', 'digest'])
        .orderBy('sequence', 'desc')
        .limit(1)
        .executeTakeFirst();
      const sequence = (last?.sequence ?? 0) + 1;
      const { envelope, digest } = seal({ sequence, previousDigest: last?.digest });
      await transaction
        .insertInto('command')
        .values({
          id: command.id,
          device_id: deviceId,
          name: command.name,
          parameters: JSON.stringify(command.parameters),
          issued_by: command.issuedBy,
          issued_ms: command.issuedMs,
          expires_ms: command.expiresMs,
          state: 'sent',
          state_ms: command.issuedMs,
          detail: '',
          sequence,
          digest,
          envelope,
        })
        .execute();
      await noteChange(transaction, database.engine, 'commands');
    });
  } catch (cause) {
    if (!isConflict(cause)) throw cause;
    throw new DatabaseError('database.conflict', `command ${command.id} exists`, { cause });
  }
}

function commands(database: Database) {
  return database.kysely
    .selectFrom('command')
    .innerJoin('device', 'device.id', 'command.device_id')
    .select([
      'command.id',
      'device.path',
      'command.name',
      'parameters',
      'issued_by as issuedBy',
      'issued_ms as issuedMs',
      'expires_ms as expiresMs',
      'state',
      'state_ms as stateMs',
      'detail',
    ]);
}

function parsed<R extends { parameters: string }>(
  row: R,
): Omit<R, 'parameters'> & Pick<NewCommand, 'parameters'> {
  return { ...row, parameters: JSON.parse(row.parameters) as NewCommand['parameters'] };
}

/** @returns the newest first, at most 200 */
export async function readCommands(database: Database, scope: Scope, path: string): Promise<CommandRow[]> {
  const rows = await commands(database)
    .where('device.path', '=', path)
    .where(within('device.path', scope))
    .orderBy('command.sequence', 'desc')
    .limit(commandsShownMax)
    .execute();
  return rows.map(parsed);
}

/** @returns what the broker has not acknowledged yet, the oldest first: to be published (again) after a restart */
export async function readUndelivered(
  database: Database,
): Promise<{ readonly id: string; readonly path: string; readonly envelope: Uint8Array }[]> {
  return database.kysely
    .selectFrom('command')
    .innerJoin('device', 'device.id', 'command.device_id')
    .select(['command.id', 'device.path', 'envelope'])
    .where('state', '=', 'sent')
    .orderBy('sequence')
    .execute();
}

/** The broker has it. A device that answered already stays where it is. */
export async function noteDelivered(database: Database, id: string, nowMs: number): Promise<void> {
  await database.transaction(async (transaction) => {
    await transaction
      .updateTable('command')
      .set({ state: 'delivered', state_ms: nowMs })
      .where('id', '=', id)
      .where('state', '=', 'sent')
      .execute();
    await noteChange(transaction, database.engine, 'commands');
  });
}

/**
 * Notes a device's answer.
 *
 * @param path - who answered; another device's answer changes nothing
 * @returns whether there was such a command, still unfinished
 */
export async function finishCommand(
  database: Database,
  path: string,
  answer: { readonly id: string; readonly outcome: CommandOutcome; readonly detail: string },
  nowMs: number,
): Promise<boolean> {
  return database.transaction(async (transaction) => {
    const { numUpdatedRows } = await transaction
      .updateTable('command')
      .set({
        state: answer.outcome,
        state_ms: nowMs,
        detail: answer.detail.toWellFormed().slice(0, detailLengthMax),
      })
      .where('id', '=', answer.id)
      .where('state', 'in', unfinished)
      .where('device_id', 'in', (query) =>
        query.selectFrom('device').select('device.id').where('path', '=', path),
      )
      .executeTakeFirst();
    if (numUpdatedRows === 0n) return false;
    await noteChange(transaction, database.engine, 'commands');
    return true;
  });
}

/** What was not answered in time is expired: the device refuses it from then on. @returns how many */
export async function expireCommands(database: Database, nowMs: number): Promise<number> {
  return database.transaction(async (transaction) => {
    const { numUpdatedRows } = await transaction
      .updateTable('command')
      .set({ state: 'expired', state_ms: nowMs, detail: 'no answer in time' })
      .where('state', 'in', unfinished)
      .where('expires_ms', '<=', nowMs)
      .executeTakeFirst();
    if (numUpdatedRows > 0n) await noteChange(transaction, database.engine, 'commands');
    return Number(numUpdatedRows);
  });
}
