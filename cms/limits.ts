/** The bounds of one envelope. Sizes that other folders rely on too are in `domain/limits.ts`. */

import { contentBytesMax, envelopeBytesMax } from '../domain/limits.ts';

/**
 * An envelope that no broker has to carry, such as one in a file: the largest content that does not get smaller, and
 * around it what any envelope may have. Programs keep to `envelopeBytesMax`.
 */
export const fileEnvelopeBytesMax = contentBytesMax + envelopeBytesMax;
/** A leaf for signatures, one for key agreement on each of six curves, and the CAs above. */
export const certificatesMax = 12;
/** The originator, an auditor on each side, and room for a change of keys. */
export const signersMax = 8;
/** Ours writes two authenticated and up to three signed attributes; others add a few. */
export const attributesMax = 16;
/** BouncyCastle streams in segments of 1,000 octets; this is for `fileEnvelopeBytesMax`. */
export const segmentsMax = 8192;
/** A constructed OCTET STRING may hold constructed ones (X.690 §8.7.3.2); nobody needs more than two levels. */
export const segmentDepthMax = 2;
/** `addedukm` and the like: RFC 5753 sets no bound; 64 octets are usual. */
export const userKeyingMaterialBytesMax = 512;
/** Two names of certificates, a digest and a key. Node's HKDF takes 1,024 octets of info, which has a little more. */
export const hybridMaterialBytesMax = 960;
/** A subject key identifier is a hash. */
export const keyIdentifierBytesMax = 64;
