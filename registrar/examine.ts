/** Examines what is asked: who asks, whether they may, and whether they have the keys. Pure. */
import { decodeEnrolmentApproval, decodeEnrolmentRequest } from '../domain/enrolment.ts';
import type { EnrolmentApproval, EnrolmentRequest, ForEachKey } from '../domain/enrolment.ts';
import { administratorName, isFactoryName, isWithin } from '../domain/namespace.ts';
import { onlySigner, verifyMessage } from '../enrolment/signed-message.ts';
import type { SignatureTrust } from '../enrolment/signed-message.ts';
import type { VerifiedIdentity } from '../pki/path.ts';
import { isBootstrap } from '../pki/path.ts';
import { PkiError } from '../pki/errors.ts';
import { parseRequest } from '../pki/request.ts';
import type { CertificationRequest } from '../pki/request.ts';
import { RefusalError } from './errors.ts';

export interface SignedRequest {
  readonly request: EnrolmentRequest;
  readonly digest: Buffer;
  readonly signer: VerifiedIdentity;
}

export interface SignedApproval {
  readonly approval: EnrolmentApproval;
  readonly signer: VerifiedIdentity;
}

const keyNames = ['tls', 'sig', 'enc'] as const;

/**
 * @param name - whose topic it came on
 * @throws CmsError, PkiError, EnrolmentError, EnrolmentMessageError: then it is nobody's, and nobody is answered
 */
export function readRequest(name: string, message: Uint8Array, trust: SignatureTrust): SignedRequest {
  const verified = verifyMessage(message, trust);
  const signer = onlySigner(verified);
  if (signer.commonName !== name) {
    throw new PkiError('pki.path_discipline', `a request of ${signer.commonName} on the topic of ${name}`);
  }
  return { request: decodeEnrolmentRequest(verified.content), digest: verified.digest, signer };
}

/** @throws as `readRequest` */
export function readApproval(message: Uint8Array, trust: SignatureTrust): SignedApproval {
  const verified = verifyMessage(message, trust);
  return { approval: decodeEnrolmentApproval(verified.content), signer: onlySigner(verified) };
}

/**
 * Whether a request is to be certified at once, or waits for somebody's approval.
 *
 * @returns what it waits for, in words; undefined if nothing
 * @throws RefusalError
 */
export function reasonToWait({ request, signer }: SignedRequest): string | undefined {
  const { kind, path } = request;
  const isInvited = isBootstrap(signer.certificate);
  requireTrue(path === signer.commonName, `${signer.commonName} cannot ask to be ${path}`);
  requireTrue(isInvited === (kind === 'enrol'), `this kind of certificate is none to ${kind} with`);
  if (isFactoryName(path)) return `waits for the vendor to say where ${path} belongs`;
  const owner = path.split('/').slice(0, 2).join('/');
  return !isInvited && signer.scope === 'enrolment'
    ? `its certificate expired: waits for an approval that ${owner} signs`
    : undefined;
}

/**
 * The three certification requests: each proves that whoever made it has the key, and the keys are three.
 *
 * @throws RefusalError
 */
export function readKeys(
  { path, requests }: EnrolmentRequest,
  signer: VerifiedIdentity,
): ForEachKey<CertificationRequest> {
  const [tls, sig, enc] = keyNames.map((name) => readKey(name, requests[name], path));
  requireTrue(tls !== undefined && sig !== undefined && enc !== undefined, 'a key is missing');
  const keys = [tls, sig, enc].map(({ publicKey }) =>
    publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
  );
  const own = signer.certificate.publicKey.export({ type: 'spki', format: 'der' }).toString('hex');
  requireTrue(new Set([...keys, own]).size === 4, 'one key would do two jobs');
  return { tls, sig, enc };
}

/**
 * Whether somebody may decide on what `name` asked for.
 *
 * @throws RefusalError
 */
export function requireApprover({ approval, signer }: SignedApproval, name: string): void {
  const isFactory = isFactoryName(name);
  const mayDecide = isFactory
    ? signer.commonName === administratorName
    : (signer.kind === 'account' || signer.kind === 'master-account') && isWithin(name, signer.commonName);
  requireTrue(mayDecide && signer.scope === 'full', `${signer.commonName} does not decide on ${name}`);
  const isPathThere = approval.path !== undefined;
  requireTrue(
    approval.decision === 'refuse' || isPathThere === isFactory,
    isFactory ? `it is not said where ${name} belongs` : `${name} has a place already`,
  );
}

function readKey(name: string, der: Uint8Array, path: string): CertificationRequest {
  try {
    const request = parseRequest(der);
    requireTrue(
      request.commonName === path,
      `the ${name} request names ${JSON.stringify(request.commonName)}`,
    );
    return request;
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new RefusalError(`the ${name} request: ${cause.message}`, { cause });
  }
}

function requireTrue(holds: boolean, reason: string): asserts holds {
  if (!holds) throw new RefusalError(reason);
}
