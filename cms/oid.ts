/** The object identifiers of the format, as the content octets of their DER. */

/** The last arc is a UUID of ours (ITU-T X.667 §7), drawn once at random: 57939931-47f0-46fc-b9e0-d53fc952cfd0. */
const plombeArc = '2.25.116409210384605535630202861310983720912';
/** And another: da96ebda-a9fb-471b-a6a4-58462138579d. */
const hybridArc = '2.25.290555331300494913528105518424143714205';

const names = {
  data: '1.2.840.113549.1.7.1', // RFC 5652 §4
  signedData: '1.2.840.113549.1.7.2', // RFC 5652 §5.1
  authEnvelopedData: '1.2.840.113549.1.9.16.1.23', // RFC 5083 §2.1
  contentType: '1.2.840.113549.1.9.3', // RFC 5652 §11.1
  messageDigest: '1.2.840.113549.1.9.4', // RFC 5652 §11.2
  signingTime: '1.2.840.113549.1.9.5', // RFC 5652 §11.3
  envelopeInfo: plombeArc,
  kemRecipient: '1.2.840.113549.1.9.16.13.3', // RFC 9629 §3
  hkdfWithSha256: '1.2.840.113549.1.9.16.3.28', // RFC 8619 §2
  hybridMlKem768: hybridArc,
  ecPublicKey: '1.2.840.10045.2.1', // RFC 5480 §2.1.1
  sha256: '2.16.840.1.101.3.4.2.1', // RFC 5754 §2
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2', // RFC 5754 §3.3
  ecdsaWithSha384: '1.2.840.10045.4.3.3',
  ecdsaWithSha512: '1.2.840.10045.4.3.4',
  aes128Wrap: '2.16.840.1.101.3.4.1.5', // RFC 3565 §4.1
  aes192Wrap: '2.16.840.1.101.3.4.1.25',
  aes256Wrap: '2.16.840.1.101.3.4.1.45',
  aes128Gcm: '2.16.840.1.101.3.4.1.6', // RFC 5084 §3.2
  aes192Gcm: '2.16.840.1.101.3.4.1.26',
  aes256Gcm: '2.16.840.1.101.3.4.1.46',
  mqvSha1: '1.3.133.16.840.63.0.16', // RFC 5753 §7.1.4
  mqvSha224: '1.3.132.1.15.0',
  mqvSha256: '1.3.132.1.15.1',
  mqvSha384: '1.3.132.1.15.2',
  mqvSha512: '1.3.132.1.15.3',
  stdDhSha1: '1.3.133.16.840.63.0.2',
  stdDhSha224: '1.3.132.1.11.0',
  stdDhSha256: '1.3.132.1.11.1',
  stdDhSha384: '1.3.132.1.11.2',
  stdDhSha512: '1.3.132.1.11.3',
  p256: '1.2.840.10045.3.1.7', // RFC 5480 §2.1.1.1
  p384: '1.3.132.0.34',
  p521: '1.3.132.0.35',
  brainpoolP256r1: '1.3.36.3.3.2.8.1.1.7', // RFC 5639 §4.1
  brainpoolP384r1: '1.3.36.3.3.2.8.1.1.11',
  brainpoolP512r1: '1.3.36.3.3.2.8.1.1.13',
} as const;

export type OidName = keyof typeof names;

export const oids = Object.freeze(
  Object.fromEntries(Object.entries(names).map(([name, dotted]) => [name, encodeOid(dotted)])),
) as Readonly<Record<OidName, Buffer>>;

const namesByContent: ReadonlyMap<string, OidName> = new Map(
  Object.entries(oids).map(([name, content]) => [content.toString('latin1'), name as OidName]),
);

/** @returns the name of an object identifier that the format knows */
export function oidName(content: Uint8Array): OidName | undefined {
  return namesByContent.get(
    Buffer.from(content.buffer, content.byteOffset, content.length).toString('latin1'),
  );
}

// The longest of ours has 20: a UUID under 2.25. Turning an arc into decimal takes the square of its length.
const shownBytesMax = 64;

/** @returns dotted decimal, with arcs of any size, for people to read; of one that is long, how long it is */
export function oidText(content: Uint8Array): string {
  if (content.length > shownBytesMax) return `an object identifier of ${content.length} octets`;
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const octet of content) {
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    if (octet >= 0x80) continue;
    if (arcs.length === 0) {
      const top = arc < 80n ? arc / 40n : 2n;
      arcs.push(top, arc - 40n * top);
    } else {
      arcs.push(arc);
    }
    arc = 0n;
  }
  return arcs.join('.');
}

/** X.690 §8.19: the first two arcs in one, then base 128, most significant first. */
function encodeOid(dotted: string): Buffer {
  const [first = 0n, second = 0n, ...rest] = dotted.split('.').map(BigInt);
  const octets = [first * 40n + second, ...rest].flatMap((arc) => {
    const digits = [Number(arc & 0x7fn)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) digits.unshift(Number(left & 0x7fn) | 0x80);
    return digits;
  });
  return Buffer.from(octets);
}
