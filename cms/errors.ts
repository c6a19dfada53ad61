/** The one error that `cms/` throws: a stable code for programs, a sentence for people. */

export type CmsErrorCode =
  | 'cms.malformed' // bytes are not the DER (or BER shell) that we accept
  | 'cms.unsupported' // well formed, but an algorithm, curve or form that we refuse
  | 'cms.not_a_recipient' // no recipient info is for this key
  | 'cms.unsigned' // a bare AuthEnvelopedData, and policy wants a signature
  | 'cms.untrusted_originator' // nobody vouches for whoever claims to have made it
  | 'cms.wrong_topic' // genuine, but sealed for another topic
  | 'cms.rejected'; // an integrity check failed; deliberately says no more

export class CmsError extends Error {
  readonly code: CmsErrorCode;

  constructor(code: CmsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CmsError';
    this.code = code;
  }
}

/** Every failed integrity check is this same error, so that an attacker learns nothing from which one it was. */
export function rejected(): CmsError {
  return new CmsError('cms.rejected', 'cannot open the envelope: an integrity check failed');
}
