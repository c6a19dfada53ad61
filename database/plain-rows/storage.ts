/** Values as plain rows, clustered by device, channel and time, for those who want to read them with SQL of their own. */
import type { Storage } from '../storage.ts';
import { check } from './check.ts';
import { readChannelIds, readPiece } from './pieces.ts';
import { addExtremes, draw, readLatest, readNow, readNumbers, readSnapshots } from './read.ts';
import { keepUp, readThinned } from './upkeep.ts';
import { finishLoad, load, store } from './write.ts';

export const rowStorage: Storage = {
  form: 'rows',
  tables: ['value_row', 'row_snapshot', 'thinned_run'],
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
