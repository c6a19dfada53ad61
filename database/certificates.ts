/** The certificate chains that devices published, current and former: old envelopes were signed with old keys. */
import type { Database } from './connect.ts';
import { ensureDevice } from './fleet.ts';
import type { CertificateKind } from './schema.ts';
import { within } from './scope.ts';
import type { Scope } from './scope.ts';

export interface PublishedChain {
  readonly kind: CertificateKind;
  /** Of the leaf. */
  readonly sha256: Uint8Array;
  /** The leaf's common name. */
  readonly subject: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** CBOR array of DER, leaf first, without the root. */
  readonly chain: Uint8Array;
}

export interface CertificateRow {
  readonly kind: CertificateKind;
  readonly subject: string;
  readonly notAfterMs: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** How many of one kind a device may have; beyond, the one that was published longest ago goes. */
const chainsPerKindMax = 16;

/** Keeps verified chains; one that is there already becomes the newest again. */
export async function keepCertificates(
  database: Database,
  path: string,
  chains: readonly PublishedChain[],
  nowMs: number,
): Promise<void> {
  const deviceId = await ensureDevice(database, path, nowMs);
  await database.transaction(async (transaction) => {
    // Every backend hears of them at the same time; on SQLite only one writes anyway.
    await transaction
      .selectFrom('device')
      .select('id')
      .where('id', '=', deviceId)
      .$if(database.engine === 'mysql', (query) => query.forUpdate())
      .execute();
    for (const { kind, sha256, subject, notBeforeMs, notAfterMs, chain } of chains) {
      const ofKind = transaction
        .selectFrom('certificate')
        .where('device_id', '=', deviceId)
        .where('kind', '=', kind);
      await transaction
        .deleteFrom('certificate')
        .where('device_id', '=', deviceId)
        .where('kind', '=', kind)
        .where('sha256', '=', sha256)
        .execute();
      await transaction
        .insertInto('certificate')
        .values({
          device_id: deviceId,
          kind,
          sha256,
          subject,
          not_before_ms: notBeforeMs,
          not_after_ms: notAfterMs,
          received_ms: nowMs,
          chain,
        })
        .execute();
      const surplus = await ofKind
        .select('id')
        .orderBy('id', 'desc')
        .offset(chainsPerKindMax)
        .limit(1)
        .executeTakeFirst();
      if (surplus === undefined) continue;
      await transaction
        .deleteFrom('certificate')
        .where('device_id', '=', deviceId)
        .where('kind', '=', kind)
        .where('id', '<=', surplus.id)
        .execute();
    }
  });
}

/** @returns the newest first */
export async function readCertificates(
  database: Database,
  scope: Scope,
  path: string,
): Promise<CertificateRow[]> {
  const rows = await database.kysely
    .selectFrom('certificate')
    .innerJoin('device', 'device.id', 'certificate.device_id')
    .select(['kind', 'subject', 'not_after_ms as notAfterMs', 'sha256'])
    .where('device.path', '=', path)
    .where(within('device.path', scope))
    .orderBy('certificate.id', 'desc')
    .execute();
  return rows.map((row) => ({ ...row, sha256: Buffer.from(row.sha256).toString('hex') }));
}

/** @returns every chain that is kept, or those of one device; the newest of each device last */
export async function readChains(
  database: Database,
  path?: string,
): Promise<{ readonly path: string; readonly kind: CertificateKind; readonly chain: Uint8Array }[]> {
  return database.kysely
    .selectFrom('certificate')
    .innerJoin('device', 'device.id', 'certificate.device_id')
    .select(['device.path', 'kind', 'chain'])
    .$if(path !== undefined, (query) => query.where('device.path', '=', path ?? ''))
    .orderBy('certificate.id')
    .execute();
}
