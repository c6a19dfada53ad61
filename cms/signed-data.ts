/**
 * SignedData (RFC 5652 §5) around one AuthEnvelopedData, or around content that is signed and not sealed.
 *
 *     SignedData ::= SEQUENCE {
 *       version CMSVersion,  -- 3, because the content is not id-data, or the signers are named by key identifiers
 *       digestAlgorithms SET OF AlgorithmIdentifier,
 *       encapContentInfo SEQUENCE { eContentType OBJECT IDENTIFIER, eContent [0] EXPLICIT OCTET STRING },
 *       certificates [0] IMPLICIT CertificateSet OPTIONAL,
 *       crls [1] IMPLICIT RevocationInfoChoices OPTIONAL,
 *       signerInfos SET OF SignerInfo }
 */
import { DerFault, derTag, readSmallInteger } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { readCertificateSet } from './auth-enveloped.ts';
import { derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import { compareEncodings, derAlgorithm, derExplicit, derOid, derSetOf } from './der-writer.ts';
import { CmsError } from './errors.ts';
import { signersMax } from './limits.ts';
import { oidName, oids } from './oid.ts';
import type { ShellReader } from './shell.ts';
import { readHashAlgorithm, readSignerInfo } from './signer-info.ts';
import type { SignerInfo, WrittenSignerInfo } from './signer-info.ts';

export interface SignedData {
  /** The octets that are signed, such as an encoded AuthEnvelopedData. */
  readonly content: Buffer;
  /** DER, unverified: anybody on the way may have put them in. */
  readonly certificates: readonly Buffer[];
  readonly signers: readonly SignerInfo[];
}

const version = 3;
const contentTag = 0xa0;
const certificatesTag = 0xa0;
const crlsTag = 0xa1;

/**
 * @param shell - stands before the SEQUENCE, and after it afterwards
 * @param wantedType - which content it must have
 */
export function readSignedData(shell: ShellReader, wantedType = oids.authEnvelopedData): SignedData {
  const what = 'SignedData';
  shell.enter(derTag.sequence, what);
  const found = readSmallInteger(shell.take(derTag.integer, 'version'), 'version');
  if (found !== version) throw new DerFault(`${what}: version ${found}, not ${version}`);
  const digestAlgorithms = shell.take(derTag.set, 'digest algorithms');
  shell.enter(derTag.sequence, 'encapsulated content');
  const contentType = shell.take(derTag.objectIdentifier, 'content type').content;
  if (!contentType.equals(wantedType)) {
    throw new CmsError('cms.unsupported', `signed content that is not ${oidName(wantedType)}`);
  }
  shell.enter(contentTag, 'encapsulated content');
  const content = shell.octets(derTag.octetString, 'encapsulated content');
  shell.leave('encapsulated content');
  shell.leave('encapsulated content');
  const certificates = shell.takeOptional(certificatesTag, 'certificates');
  shell.takeOptional(crlsTag, 'revocation lists'); // they reach us by their own topic
  const signers = readSigners(shell, wantedType);
  shell.leave(what);
  requireAnnounced(digestAlgorithms, signers);
  return {
    content,
    certificates: certificates === undefined ? [] : readCertificateSet(certificates),
    signers,
  };
}

export function writeSignedData(
  data: Pick<SignedData, 'content' | 'certificates'> & { readonly signers: readonly WrittenSignerInfo[] },
  contentType = oids.authEnvelopedData,
): Buffer {
  const digests = new Map(data.signers.map(({ hashOid }) => [hashOid.toString('latin1'), hashOid]));
  return derSequence(
    derInteger(version),
    derSetOf([...digests.values()].map((oid) => derAlgorithm(oid))),
    derSequence(derOid(contentType), derExplicit(0, derOctetString(data.content))),
    ...(data.certificates.length === 0
      ? []
      : [derExplicit(0, ...data.certificates.toSorted(compareEncodings))]),
    derSetOf(data.signers.map(({ der }) => der)),
  );
}

function readSigners(shell: ShellReader, contentType: Buffer): readonly SignerInfo[] {
  const signers: SignerInfo[] = [];
  shell.enter(derTag.set, 'signers');
  while (shell.nextTag !== undefined) {
    signers.push(readSignerInfo(shell.take(derTag.sequence, 'signer'), contentType));
    if (signers.length > signersMax) throw new DerFault(`signers: more than ${signersMax}`);
  }
  shell.leave('signers');
  return signers;
}

/**
 * They announce what the signers use (RFC 5652 §5.1). No signature covers them, so they must announce just that:
 * then nothing of an envelope can be changed unnoticed.
 */
function requireAnnounced(found: DerElement, signers: readonly SignerInfo[]): void {
  const members = found.inside();
  const announced = new Set<string>();
  while (!members.done) {
    const oid = readHashAlgorithm(members.take(derTag.sequence, 'digest algorithm'), 'digest algorithm');
    if (announced.has(oid.toString('latin1'))) throw new DerFault('digest algorithms: the same twice');
    announced.add(oid.toString('latin1'));
    if (announced.size > signersMax) throw new DerFault(`digest algorithms: more than ${signersMax}`);
  }
  const used = new Set(signers.map(({ hashOid }) => hashOid.toString('latin1')));
  if (used.size !== announced.size || [...used].some((oid) => !announced.has(oid))) {
    throw new DerFault('digest algorithms: not those of the signers');
  }
}
