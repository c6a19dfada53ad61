/** A Parquet file as a reader not of our making has it. */
import type { FileMetaData } from 'hyparquet';
import { parquetMetadata, parquetReadObjects } from 'hyparquet';

export interface ReadBack {
  /** In which it came. */
  readonly pieces: number;
  readonly metadata: FileMetaData;
  /** Rows of each row group. */
  readonly groups: readonly number[];
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

export async function readParquet(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<ReadBack> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  const file = new Uint8Array(Buffer.concat(parts)).buffer;
  const metadata = parquetMetadata(file);
  const rows = await parquetReadObjects({ file, parsers: { stringFromBytes, timestampFromMilliseconds } });
  return {
    pieces: parts.length,
    metadata,
    groups: metadata.row_groups.map(({ num_rows: count }) => Number(count)),
    rows: rows.map((row) => ({ ...row })),
  };
}

/** The reader's own drops a byte order mark. */
function stringFromBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}

function timestampFromMilliseconds(ms: bigint): Date | bigint {
  const date = new Date(Number(ms));
  return Number.isNaN(date.getTime()) ? ms : date;
}
