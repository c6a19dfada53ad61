/** What a thread that opens envelopes knows and does: the certificates of its devices, the lists, and one envelope after the other. */
import { createOpener } from '../cms/open.ts';
import type { Opener } from '../cms/open.ts';
import { OriginatorDirectory } from '../cms/originator-directory.ts';
import type { Revocations } from '../cms/in-force.ts';
import { decodeDeviceCertificates, DeviceCertificatesError } from '../domain/device-certificates.ts';
import type { Certificate } from '../pki/certificate.ts';
import { parseCertificate } from '../pki/certificate.ts';
import { restoreFromBundle } from '../pki/crl-bundle.ts';
import { PkiError } from '../pki/errors.ts';
import { requireUnrevoked } from '../pki/path.ts';
import type { VerifiedPath } from '../pki/path.ts';
import { RevocationIndex } from '../pki/revocation.ts';
import type { StalePolicy } from '../pki/revocation.ts';
import { createDecryptor } from './decryptor.ts';
import type { Decryptor, Opened, Releaser } from './decryptor.ts';
import type { FromOpener, OpenerSettings, ToOpener, Trust, Verdict } from './opener-messages.ts';
import { Packer } from './packed-arrivals.ts';
import type { OpenedPair } from './packed-arrivals.ts';
import { restoreOriginators } from './published-chains.ts';

export class Opening {
  readonly #settings: OpenerSettings;
  readonly #directory: OriginatorDirectory;
  readonly #lists: ListsInUse;
  readonly #packer = new Packer();
  readonly #decrypt: Decryptor;
  readonly #answer: (answer: FromOpener) => void;

  constructor(settings: OpenerSettings, answer: (answer: FromOpener) => void) {
    this.#settings = settings;
    this.#answer = answer;
    this.#directory = new OriginatorDirectory(settings.roots.map(certificateOf));
    this.#lists = new ListsInUse(settings.stalePolicy);
    const releasers = settings.releasers.map(releaserOf);
    const cosigners = releasers.map(({ certificate }) => certificate);
    const openers = openersOf(settings, this.#directory, cosigners);
    this.#decrypt = createDecryptor(openers, this.#lists, releasers, settings.group);
  }

  take(message: ToOpener): void {
    switch (message.kind) {
      case 'restore':
        restoreOriginators(this.#directory, message.chains, message.nowMs, ({ path, kind }, error) =>
          this.#answer({
            kind: 'dropped',
            path,
            certificate: kind,
            reason: error.code,
            detail: error.message,
          }),
        );
        return this.#answer({ kind: 'restored' });
      case 'lists':
        return this.#lists.replace(message.pem);
      case 'layouts':
        return this.#packer.learn(message.layouts);
      case 'open':
        return this.#open(message.parts, message.octets);
      case 'certificates':
        return this.#answer({ kind: 'certificates', trust: this.#publish(message) });
    }
  }

  #open(parts: Extract<ToOpener, { kind: 'open' }>['parts'], octets: Uint8Array): void {
    const verdicts: Verdict[] = [];
    const arrivals: OpenedPair[] = [];
    let start = 0;
    for (const { topic, receivedMs, end } of parts) {
      const payload = Buffer.from(octets.buffer, octets.byteOffset + start, end - start);
      start = end;
      const opened = this.#decrypt({ topic, payload, receivedMs });
      verdicts.push(verdictOf(opened));
      if (opened.kind === 'refused') continue;
      const { arrival, result } = opened;
      const kept = this.#settings.keepsEvidence
        ? { ...arrival, envelope: Uint8Array.from(payload) }
        : arrival;
      arrivals.push({ arrival: kept, result });
    }
    const packed = arrivals.length === 0 ? undefined : this.#packer.pack(arrivals);
    this.#answer({ kind: 'opened', verdicts, packed, ...this.#lists.takePasses() });
  }

  #publish({ path, payload, nowMs }: Extract<ToOpener, { kind: 'certificates' }>): Trust {
    try {
      const isNews = this.#directory.publish(path, decodeDeviceCertificates(payload), nowMs);
      return { kind: isNews ? 'news' : 'known' };
    } catch (error) {
      if (!(error instanceof PkiError || error instanceof DeviceCertificatesError)) throw error;
      return { kind: 'refused', reason: error.code, detail: error.message };
    }
  }
}

/** The newest lists that this thread was given, and what passed although they are old. */
class ListsInUse implements Revocations {
  readonly #stalePolicy: StalePolicy;
  #index = new RevocationIndex();
  #passes = 0;
  #warnings = new Set<string>();

  constructor(stalePolicy: StalePolicy) {
    this.#stalePolicy = stalePolicy;
  }

  /** @param pem - empty while there are none */
  replace(pem: string): void {
    const index = new RevocationIndex();
    if (pem !== '') restoreFromBundle(index, pem);
    this.#index = index;
  }

  requireUnrevoked(verified: VerifiedPath, atMs: number): void {
    const warnings = requireUnrevoked(verified, this.#index, atMs, this.#stalePolicy);
    if (warnings.length === 0) return;
    this.#passes += 1;
    for (const warning of warnings) this.#warnings.add(warning);
  }

  takePasses(): { readonly stalePasses: number; readonly staleWarnings: readonly string[] } {
    const taken = { stalePasses: this.#passes, staleWarnings: [...this.#warnings] };
    this.#passes = 0;
    this.#warnings = new Set();
    return taken;
  }
}

function openersOf(
  { recipients, policy }: OpenerSettings,
  originators: OriginatorDirectory,
  cosigners: readonly Certificate[],
): readonly [Opener, ...Opener[]] {
  const [first, ...others] = recipients.map(({ key, certificate }) =>
    createOpener({
      recipient: { key, certificate: certificateOf(certificate) },
      originators,
      cosigners,
      policy,
    }),
  );
  if (first === undefined) throw new Error('an opener needs a key');
  return [first, ...others];
}

function releaserOf({ certificate, authorities, root }: OpenerSettings['releasers'][number]): Releaser {
  const leaf = certificateOf(certificate);
  return { certificate: leaf, chain: [leaf, ...authorities.map(certificateOf)], root: certificateOf(root) };
}

function certificateOf(der: Uint8Array): ReturnType<typeof parseCertificate> {
  return parseCertificate(Buffer.from(der));
}

function verdictOf(opened: Opened): Verdict {
  if (opened.kind === 'refused') return opened;
  const { device, sequence, snapshot } = opened.arrival;
  const { signingTimeMs } = opened;
  return { kind: 'opened', device, sequence, isSnapshot: snapshot !== undefined, signingTimeMs };
}
