/** What is called with each input, and what must hold whatever the input is. */
import { CmsError } from '../cms/errors.ts';
import { inspect } from '../cms/inspect.ts';
import { openAnonymous } from '../cms/open-anonymous.ts';
import { addSignature } from '../cms/sign.ts';
import { parseCertificate } from '../pki/certificate.ts';
import type { Certificate } from '../pki/certificate.ts';
import { parseCrl, requireIssuedBy } from '../pki/crl.ts';
import { PkiError } from '../pki/errors.ts';
import { verifyPath } from '../pki/path.ts';
import type { TargetName } from './target-names.ts';
import { atMs, traceOf } from './world.ts';
import type { Reader, World } from './world.ts';

/** @returns what is wrong, or undefined */
export type Target = (input: Buffer, reader: Reader) => string | undefined;

export function targetsIn(world: World): Readonly<Record<TargetName, Target>> {
  const signer = world.signers.get('auditor');
  const known = new Set(world.certificates.map((der) => der.toString('latin1')));
  if (signer === undefined) throw new Error('no auditor in identities.json');
  return {
    open: (input, { opener }) =>
      refusing(CmsError, () => {
        const opened = opener.open(input);
        if (!world.genuine.has(traceOf(opened))) return `opened to what nobody sealed: ${traceOf(opened)}`;
        const [own] = opened.signers;
        return own !== undefined && own.commonName !== opened.originator.commonName
          ? 'signed by another than the originator'
          : undefined;
      }),
    inspect: (input) =>
      refusing(CmsError, () => {
        const { envelopeBytes } = inspect(input);
        return envelopeBytes === input.length ? undefined : 'another number of octets';
      }),
    anonymous: (input, { recipient }) => refusing(CmsError, () => void openAnonymous(input, recipient)),
    sign: (input) =>
      refusing(CmsError, () => {
        const signed = addSignature(input, signer, atMs);
        // What was readable stays so, with the same content for the same readers.
        return inspect(signed).digest.equals(inspect(input).digest) ? undefined : 'another digest';
      }),
    certificate: (input) =>
      refusing(PkiError, () => {
        const certificate = parseCertificate(input);
        if (!certificate.der.equals(input)) return 'another certificate';
        return trustedBy(world.roots, certificate, world) && !known.has(input.toString('latin1'))
          ? 'trusted, and nobody issued it'
          : undefined;
      }),
    crl: (input) =>
      refusing(PkiError, () => {
        const crl = parseCrl(input);
        for (const root of world.roots) requireIssuedBy(crl, root);
        return world.crls.some((genuine) => genuine.equals(input)) ? undefined : 'a list that nobody issued';
      }),
  };
}

function trustedBy(roots: readonly Certificate[], leaf: Certificate, world: World): boolean {
  const authorities = world.certificates
    .slice(1, 3)
    .map((der) => parseCertificate(der))
    .toReversed();
  const purpose = leaf.keyUsage?.has('keyAgreement') === true ? 'key-agreement' : 'signature';
  try {
    verifyPath({ chain: [leaf, ...authorities], roots, atMs, purpose });
    return true;
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return false;
  }
}

/** Runs `attempt`; an error of the one kind that is documented is no fault, any other is. */
function refusing(
  kind: typeof CmsError | typeof PkiError,
  attempt: () => string | undefined | void,
): string | undefined {
  try {
    return attempt() ?? undefined;
  } catch (error) {
    if (error instanceof kind) return undefined;
    return `threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
}
