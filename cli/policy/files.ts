/** Policies and channel names as files: what a person wrote, what an owner signed. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readSignedContent } from '../../cms/signed-content.ts';
import type { Policy } from '../../domain/policy.ts';
import { decodePolicy, PolicyError } from '../../domain/policy.ts';
import { parsePolicyFile } from '../../domain/policy-file.ts';
import { isChannelName } from '../../domain/snapshot.ts';
import type { Certificate } from '../../pki/certificate.ts';
import { certificatesFromPem } from '../../pki/certificate.ts';
import { inFile, readTextFile } from '../../pki/pem-file.ts';
import { readSignedPolicy } from '../../policy/signed-policy.ts';

export interface PolicyFile {
  readonly policy: Policy;
  /** How far its signature was looked at. */
  readonly signature: 'none' | 'not_verified' | 'verified';
}

/** What a signed message begins with: SEQUENCE. */
const derSequence = 0x30;

/**
 * @param file - as a person wrote it, or as `plombe policy sign` wrote it
 * @param roots - of the E2E PKI; without them a signature is not verified
 * @throws Error naming the file and every fault; CmsError, PkiError, PolicyRefusal
 */
export function readPolicy(
  file: string,
  roots: readonly Certificate[] | undefined,
  atMs: number,
): PolicyFile {
  const bytes = readFileSync(file);
  if (bytes[0] !== derSequence) return { policy: parseText(file, bytes.toString('utf8')), signature: 'none' };
  return inFile(file, () => signedPolicy(bytes, roots, atMs));
}

/** @throws CmsError, PkiError, PolicyError, PolicyRefusal */
export function signedPolicy(
  message: Uint8Array,
  roots: readonly Certificate[] | undefined,
  atMs: number,
): PolicyFile {
  if (roots !== undefined) {
    return { policy: readSignedPolicy(message, { roots, atMs }).policy, signature: 'verified' };
  }
  return { policy: decodePolicy(readSignedContent(message).content), signature: 'not_verified' };
}

/** @param file - a name a line, or a snapshot as a JSON object a line @returns each name once */
export function readChannels(file: string): readonly string[] {
  const lines = readTextFile(file)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  const names = lines.flatMap((line) =>
    line.startsWith('{') ? Object.keys(JSON.parse(line) as object) : [line],
  );
  const bad = names.find((name) => !isChannelName(name));
  if (bad !== undefined) throw new Error(`${file}: "${bad}" is not a channel name`);
  return [...new Set(names)];
}

function parseText(file: string, text: string): Policy {
  try {
    return parsePolicyFile(text, (name) => {
      const found = path.resolve(path.dirname(file), name);
      return certificatesFromPem(readTextFile(found)).map(({ der }) => der);
    });
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    const lines = cause.message.split('\n');
    const text =
      lines.length === 1
        ? `${file}: ${cause.message}`
        : [`${file}: ${lines.length} faults`, ...lines].join('\n  ');
    throw new Error(text, { cause });
  }
}
