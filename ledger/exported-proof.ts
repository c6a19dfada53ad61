/** Proofs as files: one entry of a ledger, or that one head continues another, for whoever has only a head. */
import { closeSync, openSync } from 'node:fs';
import { z } from 'zod';
import { parseCertificate } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import { LedgerError } from './errors.ts';
import type { NumberedLeaf } from './leaf.ts';
import { decodeLeaf } from './leaf.ts';
import { requireHeader } from './ledger-file.ts';
import { consistencyPath, inclusionPath, isConsistent, isIncluded, pathLengthMax } from './merkle-proof.ts';
import { Frontier, hashBytes, hashLeaf, LeafHashes } from './merkle.ts';
import { fileHeader, readRecords } from './records.ts';
import type { SignedHead } from './tree-head.ts';
import { readHead } from './tree-head.ts';

const hashType = z.base64().refine((text) => Buffer.from(text, 'base64').length === hashBytes, {
  error: `not the Base64 of ${hashBytes} octets`,
});
const pathType = z.array(hashType).max(pathLengthMax);
const certificatesMax = 12;
const common = {
  version: z.literal(1),
  head: z.base64().describe('the signed tree head, CMS'),
  certificates: z.array(z.base64()).max(certificatesMax).describe('of its signer, DER, leaf first'),
};
const proofType = z.discriminatedUnion('kind', [
  z.strictObject({
    ...common,
    kind: z.literal('inclusion'),
    leaf: z.base64().describe('the entry, CBOR; its number is in it'),
    path: pathType,
  }),
  z.strictObject({
    ...common,
    kind: z.literal('consistency'),
    earlier: z.strictObject({ size: z.int().min(0), root: hashType }),
    path: pathType,
  }),
]);

export type ExportedProof = z.infer<typeof proofType>;

export type CheckedProof =
  | { readonly kind: 'inclusion'; readonly head: SignedHead; readonly leaf: NumberedLeaf }
  | {
      readonly kind: 'consistency';
      readonly head: SignedHead;
      readonly earlierSize: number;
      readonly earlierRoot: Buffer;
    };

/** What a proof needs of a whole ledger. */
interface Contents {
  readonly hashes: LeafHashes;
  /** Those that were asked for. */
  readonly leaf: Buffer | undefined;
  /** The last one. */
  readonly head: { readonly message: Buffer; readonly signed: SignedHead };
}

/**
 * Proves that an entry is in the ledger, to the last head that is signed there.
 *
 * @throws LedgerError `ledger.malformed` if there is no such entry, or no signed head behind it
 */
export function proveInclusion(file: string, number: number): ExportedProof {
  const { hashes, leaf, head } = read(file, number);
  const { size } = head.signed;
  if (leaf === undefined || number >= size) {
    throw new LedgerError(
      'ledger.malformed',
      `${file}: no entry ${number} below a signed head of ${size} leaves`,
    );
  }
  const path = inclusionPath(hashes, number, size).map(base64);
  return { ...exportedHead(head), kind: 'inclusion', leaf: base64(leaf), path };
}

/** Proves that the last signed head continues the tree of `size` leaves. @throws LedgerError `ledger.malformed` */
export function proveConsistency(file: string, size: number): ExportedProof {
  const { hashes, head } = read(file, undefined);
  const newSize = head.signed.size;
  if (!Number.isSafeInteger(size) || size < 0 || size > newSize) {
    throw new LedgerError(
      'ledger.malformed',
      `${file}: its signed head has ${newSize} leaves, not ${size} or more`,
    );
  }
  const earlier = new Frontier();
  for (let index = 0; index < size; index++) earlier.append(Buffer.from(hashes.at(index)));
  const path = consistencyPath(hashes, size, newSize).map(base64);
  return {
    ...exportedHead(head),
    kind: 'consistency',
    earlier: { size, root: base64(earlier.root()) },
    path,
  };
}

/**
 * Checks what the two above made, or anybody else. Who signed the head is for the caller to look at.
 *
 * @throws LedgerError `ledger.malformed` if it is no proof, `ledger.damaged` if it proves nothing
 */
export function checkProof(exported: unknown): CheckedProof {
  const parsed = proofType.safeParse(exported);
  if (!parsed.success)
    throw new LedgerError('ledger.malformed', `not a proof: ${z.prettifyError(parsed.error)}`);
  const proof = parsed.data;
  const head = readHead(Buffer.from(proof.head, 'base64'), proof.certificates.map(certificateOf));
  const path = proof.path.map((node) => Buffer.from(node, 'base64'));
  if (proof.kind === 'inclusion') {
    const octets = Buffer.from(proof.leaf, 'base64');
    const leaf = decodeLeaf(octets);
    if (isIncluded(hashLeaf(octets), leaf.number, path, head)) return { kind: 'inclusion', head, leaf };
    throw new LedgerError(
      'ledger.damaged',
      `the proof does not lead from entry ${leaf.number} to the head of ${head.size} leaves`,
    );
  }
  const earlier = { size: proof.earlier.size, root: Buffer.from(proof.earlier.root, 'base64') };
  if (isConsistent(earlier, head, path)) {
    return { kind: 'consistency', head, earlierSize: earlier.size, earlierRoot: earlier.root };
  }
  throw new LedgerError(
    'ledger.damaged',
    `the head of ${head.size} leaves does not continue the tree of ${earlier.size}`,
  );
}

function read(file: string, wanted: number | undefined): Contents {
  const descriptor = openSync(file, 'r');
  try {
    requireHeader(descriptor, file);
    const hashes = new LeafHashes();
    let leaf: Buffer | undefined;
    let head: Contents['head'] | undefined;
    let known: readonly Certificate[] = [];
    for (const record of readRecords(descriptor, fileHeader.length)) {
      if (record.kind === 'leaf') {
        if (hashes.length === wanted) leaf = Buffer.from(record.payload);
        hashes.push(hashLeaf(record.payload));
      } else if (record.kind === 'head') {
        const message = Buffer.from(record.payload);
        head = { message, signed: readHead(message, known) };
        known = head.signed.signatures.flatMap(({ chain }) => chain);
      } else break;
    }
    if (head === undefined) throw new LedgerError('ledger.malformed', `${file}: no head is signed there yet`);
    return { hashes, leaf, head };
  } finally {
    closeSync(descriptor);
  }
}

function exportedHead({ message, signed }: Contents['head']) {
  const certificates = signed.signatures.flatMap(({ chain }) => chain).map(({ der }) => base64(der));
  return { version: 1, head: base64(message), certificates } as const;
}

function certificateOf(text: string): Certificate {
  try {
    return parseCertificate(Buffer.from(text, 'base64'));
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new LedgerError('ledger.malformed', `not a proof: ${cause.message}`, { cause });
  }
}

function base64(octets: Buffer): string {
  return octets.toString('base64');
}
