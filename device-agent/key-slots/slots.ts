/**
 * Where a device's keys are: in its identity directory as it was issued, or in one of two slots in there, `slot-a` and
 * `slot-b`. The file `current` says in which, and is replaced in one step: there is no moment without an identity.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isEnrolled } from '../../enrolment/key-directory.ts';
import { PkiError } from '../../pki/errors.ts';
import { loadIdentity } from '../../pki/identity.ts';
import type { LoadIdentityOptions } from '../../pki/identity.ts';
import { syncFolder, writeFileAtomically } from '../../runtime/files.ts';
import { KeySlotsError } from './errors.ts';

const slotNames = ['slot-a', 'slot-b'] as const;
export type SlotName = (typeof slotNames)[number];
/** `plain`: the directory itself, as `plombe pki issue` and `plombe device enrol` write it. */
export type Keeping = SlotName | 'plain';

export interface KeySlots {
  readonly current: Keeping;
  /** The one before, as long as the outbox may hold something that was sealed by it. */
  readonly former: Keeping | undefined;
  /** Where the next keys are made. It may be that of the former. */
  readonly spare: SlotName;
}

const currentFile = 'current';
const retiredPrefix = '.retired-';
const directoryMode = 0o700;
/** Keys first: whatever cuts this off, no certificate is left without somebody who knows what it was for. */
const identityFiles = [
  ...['tls', 'sig', 'enc'].map((name) => `${name}.key.pem`),
  ...['tls', 'sig', 'enc'].flatMap((name) => [`${name}.crt.pem`, `${name}.chain.pem`]),
  'tls-root.crt.pem',
  'e2e-root.crt.pem',
  'enrolment.request',
];

export function keepingDirectory(root: string, keeping: Keeping): string {
  return keeping === 'plain' ? root : path.join(root, keeping);
}

/** @throws KeySlotsError `slots.malformed` */
export function readSlots(root: string): KeySlots {
  const { current, former } = readCurrent(root);
  return { current, former, spare: current === 'slot-a' ? 'slot-b' : 'slot-a' };
}

/**
 * Ends what a power cut interrupted, and lets an identity that somebody has put into the directory itself, beside slots,
 * take their place.
 *
 * @throws KeySlotsError `slots.malformed`
 */
export function settleSlots(root: string, options: LoadIdentityOptions): KeySlots {
  for (const name of slotNames)
    rmSync(path.join(root, retiredPrefix + name), { recursive: true, force: true });
  const { current, former } = readCurrent(root);
  if (current !== 'plain' && former !== 'plain' && isWhole(root, options)) {
    for (const name of slotNames) emptyKeeping(root, name);
    rmSync(path.join(root, currentFile));
    syncFolder(root);
  }
  return readSlots(root);
}

/** @returns the directory of a slot, made if it is not there */
export function openSlot(root: string, name: SlotName): string {
  const directory = path.join(root, name);
  mkdirSync(directory, { recursive: true, mode: directoryMode });
  syncFolder(root);
  return directory;
}

/** From now on the device is whoever that slot says; what it was before is kept as the former. */
export function switchTo(root: string, next: SlotName): void {
  const { current } = readCurrent(root);
  writeFileAtomically(path.join(root, currentFile), `${next}\nformer ${current}\n`);
}

/** Removes the former keys for good. */
export function dropFormer(root: string): void {
  const { current, former } = readCurrent(root);
  if (former === undefined) return;
  emptyKeeping(root, former);
  writeFileAtomically(path.join(root, currentFile), `${current}\n`);
}

/** Removes what is in a place that is not the current one, in steps after each of which it is whole or of no use. */
export function emptyKeeping(root: string, keeping: Keeping): void {
  if (keeping === 'plain') {
    for (const file of identityFiles) rmSync(path.join(root, file), { force: true });
  } else if (existsSync(path.join(root, keeping))) {
    const retired = path.join(root, retiredPrefix + keeping);
    rmSync(retired, { recursive: true, force: true });
    renameSync(path.join(root, keeping), retired);
    syncFolder(root);
    rmSync(retired, { recursive: true });
  }
  syncFolder(root);
}

function readCurrent(root: string): Pick<KeySlots, 'current' | 'former'> {
  const file = path.join(root, currentFile);
  if (!existsSync(file)) return { current: 'plain', former: undefined };
  const match = /^(slot-[ab])\n(?:former (plain|slot-[ab])\n)?$/.exec(readFileSync(file, 'utf8'));
  const current = slotNames.find((name) => name === match?.[1]);
  const former = (['plain', ...slotNames] as const).find((name) => name === match?.[2]);
  if (current === undefined || current === former) {
    throw new KeySlotsError('slots.malformed', `${file} does not say which slot is in use`);
  }
  return { current, former };
}

function isWhole(directory: string, options: LoadIdentityOptions): boolean {
  if (!isEnrolled(directory)) return false;
  try {
    loadIdentity(directory, options);
    return true;
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return false;
  }
}
