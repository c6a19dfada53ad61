/** A signed tree head: how many leaves a ledger has and what their root is, as CMS that OpenSSL verifies too. */
import { countersignContent, readSignedContent, signContent } from '../cms/signed-content.ts';
import type { ContentSignature, ContentSigner } from '../cms/signed-content.ts';
import { CmsError } from '../cms/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import { LedgerError } from './errors.ts';
import type { BeginningLeaf } from './leaf.ts';
import type { TreeState } from './merkle-proof.ts';

export interface TreeHead extends TreeState {
  /** Which ledger it is of. */
  readonly origin: string;
}

export interface SignedHead extends TreeHead {
  /** Verified against the certificates that came along; whether these are anybody's is not. */
  readonly signatures: readonly ContentSignature[];
}

const prefix = 'plombe/ledger/';
// The three lines of a checkpoint as logs of certificates and software publish it (https://c2sp.org/tlog-checkpoint).
const bodyPattern =
  /^(plombe\/ledger\/[A-Za-z0-9._/-]{1,64}\/[0-9a-f]{32})\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n$/;

/** @returns for example `plombe/ledger/ms-acc-1/0123…ef` */
export function originOf({ owner, id }: Pick<BeginningLeaf, 'owner' | 'id'>): string {
  return `${prefix}${owner}/${id.toString('hex')}`;
}

/** What is signed: origin, size and root in Base64, a line each. */
export function headBody({ origin, size, root }: TreeHead): Buffer {
  return Buffer.from(`${origin}\n${size}\n${root.toString('base64')}\n`);
}

/**
 * @param signer - its `chain` comes along; empty where readers have it already
 * @returns ContentInfo, DER
 */
export function signHead(head: TreeHead, signer: ContentSigner, timeMs: number): Buffer {
  return signContent(headBody(head), signer, timeMs);
}

/** @param message - what `signHead` made @throws LedgerError `ledger.malformed` */
export function countersignHead(message: Uint8Array, signer: ContentSigner, timeMs: number): Buffer {
  return translated(() => countersignContent(message, signer, timeMs));
}

/**
 * @param known - certificates that need not have come along
 * @throws LedgerError `ledger.malformed` if it is no tree head, or a signature of it is not right
 */
export function readHead(message: Uint8Array, known: readonly Certificate[] = []): SignedHead {
  const { content, signatures } = translated(() => readSignedContent(message, known));
  return { ...readBody(content), signatures };
}

function readBody(body: Buffer): TreeHead {
  const [, origin, size, root] = bodyPattern.exec(body.toString('latin1')) ?? [];
  if (origin === undefined || root === undefined || !Number.isSafeInteger(Number(size))) {
    throw new LedgerError('ledger.malformed', 'a tree head that cannot be read');
  }
  return { origin, size: Number(size), root: Buffer.from(root, 'base64') };
}

function translated<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof CmsError)) throw cause;
    throw new LedgerError('ledger.malformed', `a tree head that is not right: ${cause.message}`, { cause });
  }
}
