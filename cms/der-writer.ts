/** What CMS writes besides the elements of `pki/der-writer.ts`: sets, tagged elements, and known object identifiers. */
import { derElement, derIntegerOctets, derSequence } from '../pki/der-writer.ts';
import { derTag } from '../pki/der.ts';

/** @param members - encoded; sorted here as X.690 §11.6 demands */
export function derSetOf(members: readonly Buffer[]): Buffer {
  return derElement(derTag.set, ...members.toSorted(compareEncodings));
}

/** X.690 §11.6: ascending as octet strings; no element is a prefix of another, so padding does not matter. */
export function compareEncodings(a: Buffer, b: Buffer): number {
  return Buffer.compare(a, b);
}

/** @param content - the content octets, as in `oids` */
export function derOid(content: Uint8Array): Buffer {
  return keptFor(content, objectIdentifiers, () => derElement(derTag.objectIdentifier, content));
}

/** An AlgorithmIdentifier whose parameters are absent. */
export function derAlgorithm(oid: Uint8Array): Buffer {
  return keptFor(oid, algorithmIdentifiers, () => derSequence(derOid(oid)));
}

// Every envelope has the same ones, and nobody writes into what is put together here.
const objectIdentifiers = new WeakMap<Uint8Array, Buffer>();
const algorithmIdentifiers = new WeakMap<Uint8Array, Buffer>();

function keptFor(oid: Uint8Array, kept: WeakMap<Uint8Array, Buffer>, write: () => Buffer): Buffer {
  let element = kept.get(oid);
  if (element === undefined) {
    element = write();
    kept.set(oid, element);
  }
  return element;
}

/** @param value - from 0 to 2^53 - 1 */
export function derSafeInteger(value: number): Buffer {
  const octets = Buffer.alloc(8);
  octets.writeBigUInt64BE(BigInt(value));
  return derIntegerOctets(octets);
}

/** An element of constructed context tag `number` around `parts`. */
export function derExplicit(number: number, ...parts: readonly Uint8Array[]): Buffer {
  return derElement(0xa0 | number, ...parts);
}

/** The same element under another tag of one octet. */
export function derRetagged(tag: number, element: Buffer): Buffer {
  const retagged = Buffer.from(element);
  retagged[0] = tag;
  return retagged;
}
