/** The one error that `pki/` throws: a stable code for programs, a sentence for people. */

export type PkiErrorCode =
  | 'pki.malformed_certificate' // not the DER of an X.509 version 3 certificate, or not PEM
  | 'pki.malformed_crl' // not the DER of an X.509 version 2 CRL, or not PEM
  | 'pki.malformed_pkcs12' // not a PKCS #12 file that holds one key and its certificate
  | 'pki.malformed_key' // not a private key in PEM, or not that of the certificate beside it
  | 'pki.missing_file' // a key or a certificate file that cannot be read
  | 'pki.malformed_request' // somebody asks for a certificate that makes no sense, or not in PKCS #10
  | 'pki.wrong_passphrase' // the private key is encrypted and the passphrase does not open it
  | 'pki.unsupported_algorithm' // not ECDSA with SHA-2 on a curve that DESIGN §3 names
  | 'pki.untrusted' // the chain does not end at a pinned root
  | 'pki.bad_signature' // a signature in the chain or on a CRL does not verify
  | 'pki.expired'
  | 'pki.not_yet_valid'
  | 'pki.not_an_authority' // an issuer that is not a CA
  | 'pki.path_length' // more CAs below one than its pathLen admits, or too long a chain
  | 'pki.path_discipline' // the common names do not form a path of the namespace
  | 'pki.key_usage' // the key or extended key usage does not cover the purpose
  | 'pki.unknown_critical_extension'
  | 'pki.revoked'
  | 'pki.stale_crl' // policy is `refuse`, and there is no CRL or too old a one
  | 'pki.crl_rollback' // a CRL with a smaller number than the one already held
  | 'pki.token' // a PKCS #11 token that is not there, is locked, or does not do what was asked
  | 'pki.lint' // the authority refused to sign what would break a rule
  | 'pki.authority_exists' // the directory holds an authority already
  | 'pki.authority_busy' // another process works in the directory
  | 'pki.storage' // the disk takes nothing, or what is there cannot be read
  | 'pki.key_offline' // the key of that CA is kept elsewhere, as a root's should be
  | 'pki.authority_missing' // the directory holds no authority, or an incomplete one
  | 'pki.unknown_certificate'; // nothing issued under that path or serial number

export class PkiError extends Error {
  readonly code: PkiErrorCode;

  constructor(code: PkiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PkiError';
    this.code = code;
  }
}
