/** Reads the common name out of an X.501 Name: strictly, because it is the identity (DESIGN §3). */
import { derTag, readObjectIdentifier, readOnly } from './der.ts';
import type { DerElement } from './der.ts';

const commonNameOid = '2.5.4.3';
const printable = /^[A-Za-z0-9 '()+,\-./:=?]*$/; // X.680 §41.4
const attributesMax = 32;
/** One for all: to make one takes longer than all the rest of a name. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The common name of a Name, if it has exactly one, alone in its RDN, as UTF8String or PrintableString.
 * Two names, a name hidden in a multi-valued RDN, or another string type are ways to make two programs
 * read two identities out of one certificate; so none of them is a common name here.
 *
 * @param nameDer - `Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }`
 * @throws DerFault if the bytes are not a Name
 * @see RFC 5280 §4.1.2.4
 */
export function readCommonName(nameDer: Uint8Array): string | undefined {
  const found: (string | undefined)[] = [];
  let attributes = 0;
  const relativeNames = readOnly(nameDer, derTag.sequence, 'name').inside();
  while (!relativeNames.done) {
    const members = relativeNames.take(derTag.set, 'relative name').inside();
    let isAlone = true;
    do {
      const attribute = members.take(derTag.sequence, 'name attribute').inside();
      const type = readObjectIdentifier(attribute.take(derTag.objectIdentifier, 'name type'), 'name type');
      const value = attribute.next();
      attribute.end('name attribute');
      isAlone &&= members.done;
      if (type === commonNameOid) found.push(isAlone ? readDirectoryString(value) : undefined);
      attributes += 1;
    } while (!members.done && attributes <= attributesMax);
  }
  return attributes <= attributesMax && found.length === 1 ? found[0] : undefined;
}

function readDirectoryString(value: DerElement): string | undefined {
  if (value.tag === derTag.printableString) {
    const text = value.content.toString('latin1');
    return printable.test(text) ? text : undefined;
  }
  if (value.tag !== derTag.utf8String) return undefined;
  try {
    return utf8.decode(value.content);
  } catch {
    return undefined; // not UTF-8, so not a name
  }
}
