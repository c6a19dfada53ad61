/**
 * CMS attributes (RFC 5652 §5.3, RFC 5083 §2.1).
 *
 *     Attributes ::= SET SIZE (1..MAX) OF Attribute
 *     Attribute  ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }
 */
import { DerFault, derTag, readTime, requireTag } from '../pki/der.ts';
import type { DerElement } from '../pki/der.ts';
import { derSequence, derTime } from '../pki/der-writer.ts';
import { compareEncodings, derOid, derRetagged, derSetOf } from './der-writer.ts';
import { attributesMax } from './limits.ts';
import { oids } from './oid.ts';

export interface Attributes {
  /** With the tag of SET OF: what is signed (RFC 5652 §5.4) or authenticated (RFC 5083 §2.2). */
  readonly der: Buffer;
  /** Encoded values by the type's content octets in Latin-1. */
  readonly values: ReadonlyMap<string, readonly DerElement[]>;
}

export function attribute(type: Buffer, value: Buffer): Buffer {
  return derSequence(derOid(type), derSetOf([value]));
}

export function contentTypeAttribute(contentType: Buffer): Buffer {
  return attribute(oids.contentType, derOid(contentType));
}

export function signingTimeAttribute(timeMs: number): Buffer {
  return attribute(oids.signingTime, derTime(timeMs));
}

/** @param element - with any implicit tag; strict DER, so that what is authenticated is what came (X.690 §11.6) */
export function readAttributes(element: DerElement, what: string): Attributes {
  const values = new Map<string, readonly DerElement[]>();
  for (const member of readSetOf(element, what)) {
    const fields = requireTag(member, derTag.sequence, what).inside();
    const type = fields.take(derTag.objectIdentifier, `${what} type`).content.toString('latin1');
    const members = readSetOf(fields.take(derTag.set, `${what} values`), what);
    fields.end(what);
    if (values.has(type)) throw new DerFault(`${what}: the same attribute twice`); // RFC 5652 §11
    values.set(type, members);
  }
  return { der: derRetagged(derTag.set, element.der), values };
}

/** @returns the one value of an attribute, or undefined if the attribute is absent */
export function singleValue(attributes: Attributes, type: Buffer, what: string): DerElement | undefined {
  const values = attributes.values.get(type.toString('latin1'));
  if (values === undefined) return undefined;
  const [value] = values;
  if (value === undefined || values.length !== 1) throw new DerFault(`${what}: not exactly one value`);
  return value;
}

/** @returns whether the content-type attribute is there; it must then say `contentType` */
export function checkContentType(attributes: Attributes, contentType: Buffer): boolean {
  const value = singleValue(attributes, oids.contentType, 'content type attribute');
  if (value === undefined) return false;
  if (!requireTag(value, derTag.objectIdentifier, 'content type attribute').content.equals(contentType)) {
    throw new DerFault('content type attribute: names another content type'); // RFC 5652 §11.1
  }
  return true;
}

/** @returns milliseconds since 1970 */
export function readSigningTime(attributes: Attributes): number | undefined {
  const value = singleValue(attributes, oids.signingTime, 'signing time');
  return value === undefined ? undefined : readTime(value, 'signing time');
}

function readSetOf(element: DerElement, what: string): readonly DerElement[] {
  const reader = element.inside();
  const members: DerElement[] = [];
  let previous: Buffer | undefined;
  while (!reader.done) {
    const member = reader.next();
    if (previous !== undefined && compareEncodings(previous, member.der) > 0) {
      throw new DerFault(`${what}: a set that is not in order`);
    }
    members.push(member);
    if (members.length > attributesMax) throw new DerFault(`${what}: more than ${attributesMax} members`);
    previous = member.der;
  }
  if (members.length === 0) throw new DerFault(`${what}: an empty set`);
  return members;
}
