/** What can be fuzzed. Apart from the targets themselves, so that knowing the names loads nothing. */
export const targetNames = ['open', 'inspect', 'anonymous', 'sign', 'certificate', 'crl'] as const;
export type TargetName = (typeof targetNames)[number];
/** What a target takes. */
export const kinds: Readonly<Record<TargetName, 'envelope' | 'certificate' | 'crl'>> = {
  open: 'envelope',
  inspect: 'envelope',
  anonymous: 'envelope',
  sign: 'envelope',
  certificate: 'certificate',
  crl: 'crl',
};
