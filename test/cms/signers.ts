/** Envelopes with other signatures than those that they were made with. */
import { readEnvelope, writeContentInfo } from '../../cms/envelope.ts';
import { oids } from '../../cms/oid.ts';
import { writeSignedData } from '../../cms/signed-data.ts';

/** Signed content with nobody's signature: what a border would make that strips them. */
export function withoutSigners(envelope: Buffer): Buffer {
  return withSignersOf(envelope, undefined);
}

/** @param other - whose signatures it gets instead; they are over something else */
export function withSignersOf(envelope: Buffer, other: Buffer | undefined): Buffer {
  const { signedData } = readEnvelope(envelope, {});
  if (signedData === undefined) throw new TypeError('a bare envelope');
  const signers = other === undefined ? [] : (readEnvelope(other, {}).signedData?.signers ?? []);
  const { content, certificates } = signedData;
  return writeContentInfo(oids.signedData, writeSignedData({ content, certificates, signers }));
}
