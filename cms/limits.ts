/** The bounds of one envelope. Sizes that other folders rely on too are in `domain/limits.ts`. */

/** A leaf for signatures, one for key agreement, and the CAs above each. */
export const certificatesMax = 8;
/** The originator, an auditor on each side, and room for a change of keys. */
export const signersMax = 8;
/** Foreign recipient kinds (RFC 5652 §6.2) are skipped, but not endlessly. */
export const recipientInfosMax = 100;
/** Ours writes three authenticated and three signed attributes; others add a few. */
export const attributesMax = 16;
/** BouncyCastle streams in segments of 1,000 octets. */
export const segmentsMax = 1024;
/** A constructed OCTET STRING may hold constructed ones (X.690 §8.7.3.2); nobody needs more than two levels. */
export const segmentDepthMax = 2;
/** `addedukm` and the like: RFC 5753 sets no bound; 64 octets are usual. */
export const userKeyingMaterialBytesMax = 512;
/** A subject key identifier is a hash. */
export const keyIdentifierBytesMax = 64;
