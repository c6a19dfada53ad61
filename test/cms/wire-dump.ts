/** Writes an envelope as `docs/wire.md` shows one: an element a line, with the name that its standard gives it. */
import { oidName, oidText } from '../../cms/oid.ts';
import { DerReader, derTag } from '../../pki/der.ts';
import type { DerElement } from '../../pki/der.ts';

/**
 * What a signed envelope for one recipient consists of, in the order of its octets. A name after `>` is of an OCTET
 * STRING with DER inside.
 */
export const envelopeNames: readonly string[] = `
  ContentInfo contentType content
  SignedData version digestAlgorithms DigestAlgorithmIdentifier algorithm encapContentInfo eContentType eContent
  >digested-and-signed
  AuthEnvelopedData version recipientInfos
  kari version originator subjectKeyIdentifier ukm >UserKeyingMaterial
  MQVuserKeyingMaterial ephemeralPublicKey algorithm algorithm publicKey
  keyEncryptionAlgorithm algorithm KeyWrapAlgorithm algorithm
  recipientEncryptedKeys RecipientEncryptedKey rKeyId subjectKeyIdentifier encryptedKey
  authEncryptedContentInfo contentType contentEncryptionAlgorithm algorithm
  GCMParameters aes-nonce aes-ICVlen encryptedContent
  authAttrs Attribute attrType attrValues SigningTime Attribute attrType attrValues
  EnvelopeInfo version topic sequence previous originator contentType encoding commitment mac
  signerInfos SignerInfo version subjectKeyIdentifier digestAlgorithm algorithm
  signedAttrs Attribute attrType attrValues ContentType Attribute attrType attrValues MessageDigest
  signatureAlgorithm algorithm >signature ECDSA-Sig-Value r s`
  .trim()
  .split(/\s+/);

const constructed = 0x20;
const octetsOnLine = 16;
const hexColumn = 7;
const nameColumn = 71;

/** @throws Error if the elements are not as many as the names */
export function wireDump(der: Buffer, names: readonly string[]): string {
  const lines: string[] = [];
  const left = names.values();
  const walk = (octets: Buffer, offset: number, depth: number): void => {
    const reader = new DerReader(octets);
    for (let at = offset; !reader.done;) {
      const element = reader.next();
      const next = left.next();
      if (next.done === true) throw new Error(`an element without a name at ${at}`);
      const isOpen = (element.tag & constructed) !== 0 || next.value.startsWith('>');
      lines.push(...linesOf(element, next.value.replace('>', ''), at, depth, isOpen));
      if (isOpen) walk(element.content, at + element.der.length - element.content.length, depth + 1);
      at += element.der.length;
    }
  };
  walk(der, 0, 0);
  if (left.next().done !== true) throw new Error('more names than elements');
  return lines.join('\n');
}

function linesOf(
  { tag, content, der }: DerElement,
  name: string,
  at: number,
  depth: number,
  isOpen: boolean,
): readonly string[] {
  const indent = ' '.repeat(depth);
  const header = der.subarray(0, der.length - content.length);
  const hex = (octets: Buffer) => octets.toString('hex').replaceAll(/..(?=.)/g, '$& ');
  const isShort = content.length <= octetsOnLine;
  const first = isOpen || !isShort ? hex(header) : [hex(header), hex(content)].join(' ');
  const lines = [
    `${String(at).padStart(5)}  ${indent}${first}`.padEnd(nameColumn) + name + meaning(tag, content),
  ];
  if (isOpen || isShort) return lines;
  for (let from = 0; from < content.length; from += octetsOnLine) {
    lines.push(`${' '.repeat(hexColumn)}${indent}   ${hex(content.subarray(from, from + octetsOnLine))}`);
  }
  return lines;
}

function meaning(tag: number, content: Buffer): string {
  if (tag === derTag.objectIdentifier) return ` ${oidName(content) ?? oidText(content)}`;
  if (tag === derTag.utf8String || tag === derTag.utcTime) return ` ${content.toString()}`;
  if (tag === derTag.integer && content.length <= 4) return ` ${content.readUIntBE(0, content.length)}`;
  return '';
}
