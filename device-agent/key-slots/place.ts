/** How a device came to its place: kept beside the keys of the place, because a program does not rewrite its configuration. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../../runtime/files.ts';
import { KeySlotsError } from './errors.ts';

const placeFile = 'place.json';
const placeType = z.strictObject({
  from: z.string(),
  broker: z
    .strictObject({ host: z.string(), port: z.int().min(1).max(65_535), name: z.string() })
    .readonly()
    .optional(),
  requestId: z.string(),
  isConfirmed: z.boolean(),
});

export interface Place {
  /** Who it was before. */
  readonly from: string;
  /** Instead of the one in the configuration; absent: that one. */
  readonly broker?: { readonly host: string; readonly port: number; readonly name: string } | undefined;
  /** Of the request by which it came here. */
  readonly requestId: string;
  /** Whether the broker has its word that it works here. */
  readonly isConfirmed: boolean;
}

/** @throws KeySlotsError `slots.malformed` */
export function readPlace(directory: string): Place | undefined {
  const file = path.join(directory, placeFile);
  if (!existsSync(file)) return undefined;
  try {
    return placeType.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new KeySlotsError('slots.malformed', `${file} is not as it was written`, { cause });
  }
}

export function writePlace(directory: string, place: Place): void {
  writeFileAtomically(path.join(directory, placeFile), `${JSON.stringify(place, undefined, 2)}\n`);
}
