/** The definitions that a running bpm knows: those of its folder, and older ones from the database. */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '../domain/clock.ts';
import type { Database } from '../database/connect.ts';
import { readDefinitionByDigest, saveDefinition } from '../database/processes.ts';
import type { Definition } from './definition.ts';
import { parseDefinition } from './definition.ts';
import { ProcessError } from './process-error.ts';

export interface Definitions {
  /** What an instance that starts now follows. */
  readonly condition: Definition;
  /** @throws ProcessError if the database has none with this digest, or not one that this version runs */
  byDigest(digest: string): Promise<Definition>;
}

/** The process that a change of a device's condition starts. */
export const conditionProcess = 'condition';
const filesMax = 100;
const cachedMax = 100;

/**
 * Reads every `*.bpmn` of a folder and records it.
 *
 * @throws ProcessError, with the file's name, if one cannot run or none is called `condition`
 */
export async function loadDefinitions(
  directory: string,
  database: Database,
  clock: Clock,
): Promise<Definitions> {
  const known = new Map<string, Definition>();
  const files = readdirSync(directory).filter((name) => name.endsWith('.bpmn'));
  if (files.length > filesMax)
    throw new ProcessError('process.invalid', `${directory} has more than ${filesMax} files`);
  let condition: Definition | undefined;
  for (const name of files.toSorted()) {
    const definition = await readDefinitionFile(path.join(directory, name));
    await saveDefinition(database, definition, clock());
    known.set(definition.digest, definition);
    if (definition.name === conditionProcess) condition = definition;
  }
  if (condition === undefined) {
    throw new ProcessError(
      'process.invalid',
      `${directory} has no process with the id "${conditionProcess}"`,
    );
  }
  return { condition, byDigest: (digest) => readKnown(known, database, digest) };
}

async function readDefinitionFile(file: string): Promise<Definition> {
  try {
    return await parseDefinition(readFileSync(file, 'utf8'));
  } catch (cause) {
    if (!(cause instanceof ProcessError)) throw cause;
    throw new ProcessError(cause.code, `${file}: ${cause.message}`, { cause });
  }
}

async function readKnown(
  known: Map<string, Definition>,
  database: Database,
  digest: string,
): Promise<Definition> {
  const already = known.get(digest);
  if (already !== undefined) return already;
  const xml = await readDefinitionByDigest(database, digest);
  if (xml === undefined) throw new ProcessError('process.invalid', `there is no definition ${digest}`);
  const definition = await parseDefinition(xml);
  if (known.size < cachedMax) known.set(digest, definition);
  return definition;
}
