/** Adds a signature to an envelope, without opening it: how an auditor releases one (DESIGN §7). */
import { bytesMaxOf, readEnvelope, writeContentInfo } from './envelope.ts';
import type { EnvelopeBound } from './envelope.ts';
import { CmsError } from './errors.ts';
import { identifies } from './identifier.ts';
import { signersMax } from './limits.ts';
import { oids } from './oid.ts';
import { writeSignedData } from './signed-data.ts';
import { checkSignatureKey, makeSignerInfo } from './signer-info.ts';
import type { SignatureKey } from './signer-info.ts';

/**
 * Adds a SignerInfo next to those that are there. A signature that this signer made before is replaced. The envelope's
 * digest stays what it was; no signature is verified here.
 *
 * @param envelope - SignedData over AuthEnvelopedData
 * @returns the envelope with one signature more, all of it DER
 * @throws CmsError `cms.unsigned` for a bare envelope, `cms.unsupported` if it becomes too large, and as `readEnvelope`
 */
export function addSignature(
  envelope: Uint8Array,
  signer: SignatureKey,
  signingTimeMs: number,
  bound: EnvelopeBound = {},
): Buffer {
  checkSignatureKey(signer);
  const { signedData } = readEnvelope(envelope, bound);
  if (signedData === undefined)
    throw new CmsError('cms.unsigned', 'cannot add a signature: the envelope has none');
  const { content, certificates, signers } = signedData;
  const added = makeSignerInfo(content, signer, signingTimeMs);
  const others = signers.filter(({ identifier }) => !identifies(identifier, signer.certificate));
  if (others.length >= signersMax) {
    throw new CmsError('cms.unsupported', `cannot add a signature: there are ${others.length} already`);
  }
  const signed = writeContentInfo(
    oids.signedData,
    writeSignedData({ content, certificates, signers: [...others, added] }),
  );
  if (signed.length > bytesMaxOf(bound)) {
    throw new CmsError(
      'cms.unsupported',
      `cannot add a signature: an envelope of ${signed.length} bytes; at most ${bytesMaxOf(bound)}`,
    );
  }
  return signed;
}
