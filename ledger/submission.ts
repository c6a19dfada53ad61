/**
 * What an auditor shows the vendor to have a head countersigned: the head, and what lies between it and the one before.
 * Of entries about envelopes that reached the vendor it shows the whole leaf, of all others the hash alone.
 */
import { decode, encode, rfc8949EncodeOptions } from 'cborg';
import { z } from 'zod';
import { isServiceName } from '../domain/namespace.ts';
import { LedgerError } from './errors.ts';
import type { NumberedLeaf, PassageLeaf } from './leaf.ts';
import { decodeLeaf } from './leaf.ts';
import { Frontier, hashBytes, hashLeaf } from './merkle.ts';
import { readHead } from './tree-head.ts';
import type { SignedHead } from './tree-head.ts';

export interface ShownLeaf {
  readonly octets: Uint8Array;
  readonly leaf: NumberedLeaf;
}

export interface Submission {
  readonly head: SignedHead;
  /** As it came, to be countersigned. */
  readonly message: Buffer;
  /** How many leaves the head before has. */
  readonly from: number;
  /** After them. */
  readonly leaves: readonly { readonly hash: Buffer; readonly passage: PassageLeaf | undefined }[];
}

/** What the vendor has countersigned last; without a head it has nothing. */
export interface Countersigned {
  readonly origin: string;
  readonly message: Buffer | undefined;
}

/** So that one message holds them. */
export const shownBytesMax = 128 * 1024;
export const shownLeavesMax = 2000;

const bytesType = z.instanceof(Uint8Array);
const submissionType = z.tuple([
  bytesType,
  z.int().min(0),
  z
    .array(z.union([z.tuple([z.literal(0), bytesType]), z.tuple([z.literal(1), bytesType])]))
    .max(shownLeavesMax),
]);
const countersignedType = z.tuple([z.string().max(200), z.union([bytesType, z.null()])]);

export function encodeSubmission(head: Uint8Array, from: number, leaves: readonly ShownLeaf[]): Uint8Array {
  const shown = leaves.map(({ octets, leaf }) => (isShown(leaf) ? [0, octets] : [1, hashLeaf(octets)]));
  return encode([head, from, shown], rfc8949EncodeOptions);
}

/** @throws LedgerError `ledger.malformed` */
export function decodeSubmission(payload: Uint8Array): Submission {
  const [message, from, shown] = read(submissionType, payload, 'a submission');
  const leaves = shown.map(([kind, octets]) => {
    if (kind === 0) {
      const leaf = decodeLeaf(octets);
      if (leaf.kind === 'passage') return { hash: hashLeaf(octets), passage: leaf };
    } else if (octets.length === hashBytes) return { hash: Buffer.from(octets), passage: undefined };
    throw new LedgerError(
      'ledger.malformed',
      'a submission with a leaf that is neither a passage nor a hash',
    );
  });
  return { head: readHead(message), message: Buffer.from(message), from, leaves };
}

/**
 * @param before - of the tree whose size is `from`
 * @returns the tree of the head, if the leaves lead there
 * @throws LedgerError `ledger.damaged`
 */
export function continueTree(
  before: Frontier,
  { head, leaves }: Pick<Submission, 'head' | 'leaves'>,
): Frontier {
  const after = before.copy();
  for (const { hash } of leaves) after.append(hash);
  if (after.size === head.size && after.root().equals(head.root)) return after;
  throw new LedgerError(
    'ledger.damaged',
    `the head of ${head.size} leaves does not continue the tree of ${before.size}`,
  );
}

export function encodeCountersigned({ origin, message }: Countersigned): Uint8Array {
  return encode([origin, message ?? null], rfc8949EncodeOptions);
}

/** @throws LedgerError `ledger.malformed` */
export function decodeCountersigned(payload: Uint8Array): Countersigned {
  const [origin, message] = read(countersignedType, payload, 'an answer');
  return { origin, message: message === null ? undefined : Buffer.from(message) };
}

/** Whether an entry is about an envelope that the vendor has, or will have. */
function isShown(leaf: NumberedLeaf): boolean {
  return (
    leaf.kind === 'passage' &&
    leaf.direction === 'out' &&
    leaf.alarm === undefined &&
    (leaf.outcome === 'passed' || leaf.outcome === 'released') &&
    leaf.recipients.some(({ name }) => name !== undefined && isServiceName(name))
  );
}

function read<T>(type: z.ZodType<T>, payload: Uint8Array, what: string): T {
  try {
    return type.parse(decode(payload, { strict: true, allowUndefined: false }));
  } catch (cause) {
    throw new LedgerError('ledger.malformed', `not ${what} about a tree head`, { cause });
  }
}
