/** How an envelope is written where CMS leaves a choice, and what we choose (docs/wire.md, "What a sender writes"). */
import { CmsError } from './errors.ts';
import type { IdentifierKind } from './identifier.ts';
import type { SharedInfoFlavour } from './kdf.ts';
import type { KeyBytes } from './key-wrap.ts';
import type { Suite } from './suite.ts';

/** What other implementations may need; the defaults are what ours write. */
export interface SealFormat {
  /** Default: `rfc5753`. */
  readonly kdfFlavour?: SharedInfoFlavour;
  /** Default: as strong as the curve. */
  readonly kdfHash?: Suite['hash'];
  /** Default: 32. */
  readonly contentKeyBytes?: KeyBytes;
  /** Default: 32. Never below `contentKeyBytes`. */
  readonly keyWrapBytes?: KeyBytes;
  /** How the originator's ENC key is named; `publicKey`: not at all, the key itself is there. Default: by identifier. */
  readonly originator?: IdentifierKind | 'publicKey';
  /** Default: by identifier. */
  readonly recipient?: IdentifierKind;
  /**
   * `plain`: a content type and a signing time, as RFC 5083 has it, and not our attribute. Then nothing commits to the
   * key and nothing names the originator, so only a bare envelope may be so. Default: `plombe`.
   */
  readonly attributes?: 'plombe' | 'plain';
  /** Whether content is deflated when that is smaller. Our attribute says whether it was. Default: with `plombe`, yes. */
  readonly compress?: boolean;
}

/** Nothing left open. */
export interface FullFormat extends Required<Omit<SealFormat, 'kdfHash'>> {
  readonly kdfHash: Suite['hash'] | undefined;
}

/** @throws CmsError `cms.unsupported` if the choices contradict each other */
export function fullFormat(format: SealFormat, isSigned: boolean): FullFormat {
  const { attributes = 'plombe', contentKeyBytes = 32, keyWrapBytes = 32 } = format;
  const { compress = attributes === 'plombe' } = format;
  if (keyWrapBytes < contentKeyBytes) {
    throw new CmsError(
      'cms.unsupported',
      `a key wrap of ${8 * keyWrapBytes} bits would weaken a content key of ${8 * contentKeyBytes}`,
    );
  }
  if (attributes === 'plain' && isSigned) {
    throw new CmsError('cms.unsupported', 'a signed envelope needs our attribute: it commits to the key');
  }
  if (attributes === 'plain' && compress) {
    throw new CmsError('cms.unsupported', 'content cannot be deflated where no attribute says so');
  }
  return {
    kdfFlavour: format.kdfFlavour ?? 'rfc5753',
    kdfHash: format.kdfHash,
    contentKeyBytes,
    keyWrapBytes,
    originator: format.originator ?? 'keyIdentifier',
    recipient: format.recipient ?? 'keyIdentifier',
    attributes,
    compress,
  };
}
