/** Lists and certificates with one defect each, from the webpki project: what is read of them, and why the rest is not. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseCertificate } from '../../pki/certificate.ts';
import { parseCrl } from '../../pki/crl.ts';

const folder = path.resolve(import.meta.dirname, '../../../shared/data/crl_der/tests');

const isPartial = { code: 'pki.unknown_critical_extension', message: /critical extension 2\.5\.29\.28$/ };
/** It says that this is not critical. */
const isDelta = { code: 'pki.unknown_critical_extension', message: /critical extension 2\.5\.29\.27$/ };
const malformed = (code: 'crl' | 'certificate', message: RegExp): Fault => ({
  code: `pki.malformed_${code}`,
  message,
});

interface Fault {
  readonly code: string;
  readonly message: RegExp;
}

/** What is not here is read. A partial list (issuing distribution point) is refused whatever else is wrong with it. */
const refused: ReadonlyMap<string, Fault> = new Map<string, Fault>([
  ['crls/crl.delta.der', isDelta],
  ['crls/crl.entry.invalid.reason.der', isPartial],
  ['crls/crl.entry.invalidity.date.der', isPartial],
  ['crls/crl.entry.issuer.ext.der', isPartial],
  ['crls/crl.entry.unknown.crit.ext.der', isPartial],
  ['crls/crl.idp.explicit.false.bool.der', isPartial],
  ['crls/crl.idp.indirect_crl.der', isPartial],
  ['crls/crl.idp.invalid.bool.der', isPartial],
  ['crls/crl.idp.invalid.name.der', isPartial],
  ['crls/crl.idp.name_relative_to_issuer.der', isPartial],
  ['crls/crl.idp.no_distribution_point_name.der', isPartial],
  ['crls/crl.idp.only_attribute_certs.der', isPartial],
  ['crls/crl.idp.only_ca_certs.der', isPartial],
  ['crls/crl.idp.only_some_reasons.der', isPartial],
  ['crls/crl.idp.only_user_certs.der', isPartial],
  ['crls/crl.idp.unknown.tag.der', isPartial],
  ['crls/crl.idp.valid.der', isPartial],
  ['crls/crl.invalid.this.update.time.der', malformed('crl', /nextUpdate: not a time$/)],
  ['crls/crl.mismatched.sigalg.der', malformed('crl', /two signature algorithms that differ$/)],
  ['crls/crl.missing.exts.der', malformed('crl', /extensions: expected tag 0xa0, found the end$/)],
  ['crls/crl.missing.next.update.der', malformed('crl', /nextUpdate: not a time$/)],
  ['crls/crl.negative.crl.number.der', malformed('crl', /CRL number: a negative integer$/)],
  ['crls/crl.negative.serial.der', isPartial],
  ['crls/crl.no.entry.exts.der', isPartial],
  ['crls/crl.too.long.crl.number.der', isPartial],
  ['crls/crl.topbit.serial.der', isPartial],
  [
    'crls/crl.unknown.crit.ext.der',
    { code: 'pki.unknown_critical_extension', message: /critical extension 2\.5\.29\.69$/ },
  ],
  ['crls/crl.valid.der', isPartial],
  ['crls/crl.wrong.version.der', malformed('crl', /only version 2 is read$/)],
  ['misc/serial_large_positive.der', malformed('certificate', /serial number: above 20 octets$/)],
  ['misc/serial_neg.der', malformed('certificate', /serial number: a negative integer$/)],
  ['misc/serial_neg_ca.der', malformed('certificate', /serial number: a negative integer$/)],
  ['misc/serial_neg_ee.der', malformed('certificate', /serial number: a negative integer$/)],
  ['client_auth_revocation/ee_dp_invalid.crl.der', isPartial],
  ['client_auth_revocation/ee_indirect_dp_unknown_status.crl.der', isPartial],
  ['client_auth_revocation/ee_nofullname_dp_unknown_status.crl.der', isPartial],
  ['client_auth_revocation/ee_reasons_dp_unknown_status.crl.der', isPartial],
  [
    'client_auth_revocation/ee_revoked_crl_ku_ee_depth.crl.der',
    malformed('crl', /CRL number: too large$/), // of eight octets; ours count from 1
  ],
]);

const files = ['crls', 'misc', 'client_auth_revocation'].flatMap((part) =>
  readdirSync(path.join(folder, part))
    .filter((file) => file.endsWith('.der'))
    .map((file) => `${part}/${file}`),
);

for (const file of files) {
  const isCrl = file.startsWith('crls/') || file.endsWith('.crl.der');
  const fault = refused.get(file);
  test(`${isCrl ? 'parseCrl' : 'parseCertificate'}: ${file} is ${fault === undefined ? 'read' : 'refused'}`, () => {
    const der = readFileSync(path.join(folder, file));
    const parse = (): unknown => (isCrl ? parseCrl(der) : parseCertificate(der));
    if (fault === undefined) assert.doesNotThrow(parse);
    else assert.throws(parse, fault);
  });
}

test('crl_der: every file of the table is there', () => {
  assert.deepEqual(
    [...refused.keys()].filter((file) => !files.includes(file)),
    [],
  );
});
