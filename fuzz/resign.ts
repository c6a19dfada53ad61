/** Signs a changed inside anew with its originator's key, so that what is behind the check of the signature is reached. */
import { hash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import { attribute, contentTypeAttribute, signingTimeAttribute } from '../cms/attributes.ts';
import { derOid, derRetagged, derSetOf } from '../cms/der-writer.ts';
import { readScalar, scalarOf } from '../cms/ecdh.ts';
import { readEnvelope, writeContentInfo } from '../cms/envelope.ts';
import { CmsError } from '../cms/errors.ts';
import { identifierOf, writeIdentifier } from '../cms/identifier.ts';
import { oids } from '../cms/oid.ts';
import { writeSignedData } from '../cms/signed-data.ts';
import type { SignatureKey } from '../cms/signer-info.ts';
import { suiteOf } from '../cms/suite.ts';
import { derInteger, derOctetString, derSequence } from '../pki/der-writer.ts';
import type { Generator } from './generator.ts';
import { changeForest } from './mutate.ts';
import { readForest } from './tlv.ts';
import { atMs } from './world.ts';

/** @returns undefined unless the envelope is signed and its structure can be read */
export function resigned(
  envelope: Buffer,
  signer: SignatureKey & { readonly key: KeyObject },
  donors: readonly Buffer[],
  generator: Generator,
): Buffer | undefined {
  const inside = insideOf(envelope);
  const forest = inside && readForest(inside);
  if (forest === undefined) return undefined;
  const content = changeForest(forest, donors, generator);
  const attributes = derSetOf([
    contentTypeAttribute(oids.authEnvelopedData),
    attribute(oids.messageDigest, derOctetString(hash('sha256', content, 'buffer'))),
    signingTimeAttribute(atMs),
  ]);
  // Half of the changed attributes still say the right digest.
  const changed = generator.chance(0.2)
    ? changeForest(readForest(attributes) ?? [], donors, generator)
    : attributes;
  const { hashOid, ecdsaOid, ...suite } = suiteOf('P-256');
  const scalar = readScalar(scalarOf(suiteOf(suite.curve), signer.key));
  // RFC 6979: the same signature in every run.
  const signature = p256.sign(changed, p256.Point.Fn.toBytes(scalar), { format: 'der', lowS: false });
  const info = derSequence(
    derInteger(3),
    writeIdentifier(identifierOf(signer.certificate, 'keyIdentifier')),
    derSequence(derOid(hashOid)),
    derRetagged(0xa0, changed),
    derSequence(derOid(ecdsaOid)),
    derOctetString(signature),
  );
  const signers = [{ hashOid, der: info }];
  return writeContentInfo(oids.signedData, writeSignedData({ content, certificates: [], signers }));
}

function insideOf(envelope: Buffer): Buffer | undefined {
  try {
    const { signedData, encoded } = readEnvelope(envelope);
    return signedData === undefined ? undefined : encoded;
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    return undefined;
  }
}
