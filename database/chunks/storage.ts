/** Values in chunks: the newest snapshots of a device whole, older values compressed by channel (docs/decisions/0003). */
import type { Storage } from '../storage.ts';
import { check } from './check.ts';
import { addExtremes, readNow } from './exceeds.ts';
import { readLatest } from './latest.ts';
import { finishLoad, load } from './load.ts';
import { readNumbers } from './numbers.ts';
import { readChannelIds, readPiece } from './pieces.ts';
import { store } from './seal.ts';
import { draw } from './series.ts';
import { readSnapshots } from './snapshots.ts';
import { keepUp, readThinned } from './upkeep.ts';

export const chunkStorage: Storage = {
  form: 'chunks',
  tables: ['head', 'open_zone', 'chunk_time', 'chunk', 'thinned_run'],
  store,
  readLatest,
  draw,
  readNumbers,
  readNow,
  addExtremes,
  readChannelIds,
  readPiece,
  readSnapshots,
  keepUp,
  check,
  readThinned,
  load,
  finishLoad,
};
