/** A ledger in a folder of its own, with an owner whose certificates are real. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { hash } from 'node:crypto';
import type { ContentSigner } from '../../cms/signed-content.ts';
import { openLedger } from '../../ledger/ledger-file.ts';
import type { Ledger } from '../../ledger/ledger-file.ts';
import type { PassageLeaf } from '../../ledger/leaf.ts';
import { fileHeader, readRecords } from '../../ledger/records.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { loadE2eIdentity } from '../../pki/identity.ts';
import { temporaryFolder } from '../device-agent/collector/files.ts';
import { closeSync, openSync } from 'node:fs';

export const owner = 'ms-acc-1';
export const device = 'ms-acc-1/acc-1/dev-1';
/** Within the validity of certificates that are issued for the test. */
export const timeMs = Math.floor(Date.now() / 1000) * 1000;

export interface Parties {
  readonly folder: string;
  readonly roots: readonly Certificate[];
  readonly signerOf: (name: string) => ContentSigner;
}

export async function makeParties(context: TestContext, ...names: readonly string[]): Promise<Parties> {
  const folder = temporaryFolder(context);
  const authority = createAuthority({ directory: path.join(folder, 'authority') });
  for (const name of [owner, ...names]) {
    await authority.issue({ path: name, outputDirectory: path.join(folder, name) });
  }
  return {
    folder,
    roots: [authority.roots.e2e],
    signerOf: (name) => loadE2eIdentity(path.join(folder, name)).signature,
  };
}

export function openAt(file: string): Ledger {
  return openLedger(file, { owner, timeMs }).ledger;
}

export function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}

export function passage(sequence: number, changes: Partial<PassageLeaf> = {}): PassageLeaf {
  return {
    kind: 'passage',
    timeMs: timeMs + sequence,
    direction: 'out',
    topic: `${device}/snapshots`,
    sequence,
    signingTimeMs: timeMs + sequence,
    digest: digestOf(`envelope ${sequence}`),
    previousDigest: sequence === 1 ? undefined : digestOf(`envelope ${sequence - 1}`),
    recipients: [
      { identifier: 'aa'.repeat(20), name: 'vendor-snapshot-service' },
      { identifier: 'bb'.repeat(20), name: owner },
    ],
    channels: { count: 2, digest: digestOf('channels') },
    bytes: 1000,
    outcome: 'passed',
    alarm: undefined,
    policy: undefined,
    decidedBy: undefined,
    ...changes,
  };
}

export interface Piece {
  readonly kind: 'leaf' | 'head';
  readonly octets: Buffer;
  readonly payload: Buffer;
}

/** The records of a file, to be put together in another way. */
export function piecesOf(file: string): Piece[] {
  const whole = readFileSync(file);
  const descriptor = openSync(file, 'r');
  try {
    return Array.from(readRecords(descriptor, fileHeader.length), (record) => {
      if (record.kind === 'torn' || record.kind === 'damaged') throw new Error(`${file} is ${record.kind}`);
      const { kind, payload, position, end } = record;
      return { kind, octets: whole.subarray(position, end), payload: Buffer.from(payload) };
    });
  } finally {
    closeSync(descriptor);
  }
}

export function writePieces(file: string, pieces: readonly { readonly octets: Uint8Array }[]): void {
  writeFileSync(file, Buffer.concat([fileHeader, ...pieces.map(({ octets }) => octets)]));
}
