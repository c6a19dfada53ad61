/** Every bound that more than one program relies on, with its reason. */

/** MQTT allows 65,535 bytes; ours are at most 62 characters of path and 18 of name. */
export const topicBytesMax = 256;
export const topicLevelsMax = 8;

/** One envelope. 340 values take about 3 KiB; the largest sensible snapshot stays far below. */
export const envelopeBytesMax = 256 * 1024;
/** An envelope's content after decompression, so that a bomb cannot grow. */
export const contentBytesMax = 4 * 1024 * 1024;

/** RFC 8428 sets none; hundreds of channels are usual. */
export const readingsMax = 10_000;
export const channelNameLengthMax = 64;
export const unitLengthMax = 32;
export const valueLengthMax = 256;

/** A leaf, two CAs and the root. */
export const chainLengthMax = 4;
/** How many recipients one envelope may have (DESIGN §5). */
export const recipientsMax = 100;
/** How long after its expiry a device's certificate may still ask for another. Revocation lists name it for so long. */
export const expiredGraceDaysMax = 366;
