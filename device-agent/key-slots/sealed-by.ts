/** Which of a device's identities, the one before and the one now, sealed an envelope that waits. */
import { identifies } from '../../cms/identifier.ts';
import { inspect } from '../../cms/inspect.ts';
import type { E2eIdentity } from '../../pki/identity.ts';

/**
 * @param identities - the one in use first
 * @returns that one too if it was none of them
 */
export function sealedBy<Identity extends Pick<E2eIdentity, 'signature'>>(
  envelope: Uint8Array,
  [own, ...others]: readonly [Identity, ...Identity[]],
): Identity {
  if (others.length === 0) return own;
  const { signers } = inspect(envelope);
  const made = ({ signature }: Identity): boolean =>
    signers.some(({ signer }) => identifies(signer, signature.certificate));
  return made(own) ? own : (others.find(made) ?? own);
}
