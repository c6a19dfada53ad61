/** Commands to a device and their results: what the sealed messages of the way back contain. */
import { decode, encode, rfc8949EncodeOptions } from 'cborg';

/** What a device may be asked. Each name is understood by agents from the version that introduced it. */
export const commandNames = ['ping'] as const;
export type CommandName = (typeof commandNames)[number];

export interface Command {
  /** A UUID; a device executes an id at most once. */
  readonly id: string;
  readonly name: CommandName;
  readonly issuedAtMs: number;
  /** A device refuses the command from this moment on. */
  readonly expiresAtMs: number;
  readonly parameters: Readonly<Record<string, string | number | boolean>>;
}

export type CommandOutcome = 'done' | 'refused' | 'expired';

export interface CommandResult {
  readonly id: string;
  readonly outcome: CommandOutcome;
  readonly finishedAtMs: number;
  /** Why it was refused, or what was done, in words for the operator; at most 1,000 characters. */
  readonly detail: string;
}

const detailLengthMax = 1000;
const parametersMax = 32;
const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code = 'command.malformed';
}

export function encodeCommand(command: Command): Uint8Array {
  return encode(command, rfc8949EncodeOptions);
}

/** @throws CommandError if the bytes are not a command that this version knows */
export function decodeCommand(content: Uint8Array): Command {
  const fields = decodeFields(content);
  const { id, name, issuedAtMs, expiresAtMs, parameters } = fields;
  const known = commandNames.find((candidate) => candidate === name);
  if (!isId(id)) throw new CommandError('"id" is not a UUID');
  if (known === undefined)
    throw new CommandError(`command ${JSON.stringify(name)} is not known to this version`);
  if (!isTime(issuedAtMs) || !isTime(expiresAtMs)) throw new CommandError('a time is missing');
  if (!isParameters(parameters)) throw new CommandError('"parameters" is not a map of plain values');
  return { id, name: known, issuedAtMs, expiresAtMs, parameters };
}

export function encodeCommandResult(result: CommandResult): Uint8Array {
  return encode({ ...result, detail: result.detail.slice(0, detailLengthMax) }, rfc8949EncodeOptions);
}

/** @throws CommandError */
export function decodeCommandResult(content: Uint8Array): CommandResult {
  const { id, outcome, finishedAtMs, detail } = decodeFields(content);
  if (!isId(id)) throw new CommandError('"id" is not a UUID');
  if (outcome !== 'done' && outcome !== 'refused' && outcome !== 'expired') {
    throw new CommandError(`outcome ${JSON.stringify(outcome)} is not known`);
  }
  if (!isTime(finishedAtMs)) throw new CommandError('"finishedAtMs" is missing');
  if (typeof detail !== 'string' || detail.length > detailLengthMax)
    throw new CommandError('"detail" is not a text');
  return { id, outcome, finishedAtMs, detail };
}

function decodeFields(content: Uint8Array): Record<string, unknown> {
  let decoded: unknown;
  try {
    decoded = decode(content, { rejectDuplicateMapKeys: true, allowUndefined: false });
  } catch (cause) {
    throw new CommandError('content is not CBOR', { cause });
  }
  if (typeof decoded !== 'object' || decoded === null || Array.isArray(decoded)) {
    throw new CommandError('content is not a map');
  }
  return Object.fromEntries(Object.entries(decoded));
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && idPattern.test(value);
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function isParameters(value: unknown): value is Record<string, string | number | boolean> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value))
    return false;
  const values: unknown[] = Object.values(value);
  return (
    values.length <= parametersMax &&
    values.every(
      (item) => typeof item === 'string' || typeof item === 'boolean' || Number.isFinite(item), // and NaN is no number
    )
  );
}
