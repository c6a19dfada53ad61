/** Whose envelopes the auditor believes, from two lists. */
import type { Originators } from '../cms/originator.ts';

/** Devices, by what they published, and those who command them. */
export function eitherOf(first: Originators, second: Originators): Originators {
  return {
    byKeyIdentifier: (id) => first.byKeyIdentifier(id) ?? second.byKeyIdentifier(id),
    byIssuerAndSerial: (issuer, serial) =>
      first.byIssuerAndSerial(issuer, serial) ?? second.byIssuerAndSerial(issuer, serial),
    byPublicPoint: (curve, point) => first.byPublicPoint(curve, point) ?? second.byPublicPoint(curve, point),
  };
}
