/** Sizes, in octets, and where in memory things are. */
import { BITS, INVERSION_SLOTS, LIMBS } from './curve';

export const ELEMENT: i32 = 4 * LIMBS;
/** x and y, up to a multiple of what is read at once. */
export const AFFINE: i32 = (2 * ELEMENT + 15) & ~15;
export const JACOBIAN: i32 = 3 * ELEMENT;

/** How many sums there may be: a hundred recipients, or the entries of the largest comb (4 blocks of 2⁵). */
const SUMS_MAX: i32 = 128;
/** Teeth times blocks of the largest comb. */
export const BASES_MAX: i32 = 24;
export const WINDOW: i32 = 5;
export const WINDOW_ENTRIES: i32 = 1 << (WINDOW - 1);
export const WINDOWS: i32 = (BITS + WINDOW - 1) / WINDOW;
export const DIGITS_MAX: i32 = 640;
/** A coordinate, and room to read 64 bits from its last octet. */
export const LITTLE_ENDIAN: i32 = 96;

/** Octets in and out: x and y of every sum. All integers in it are big-endian and as long as a coordinate. */
export const exchange: usize = memory.data(SUMS_MAX * 2 * 66, 16);
/** A point read or made here, affine. */
export const point: usize = memory.data(AFFINE, 16);
/** Its x coordinate, canonical and not in Montgomery form: what avf looks at. */
export const plainX: usize = memory.data(ELEMENT, 16);
/** Jacobian points: what is computed. */
export const sums: usize = memory.data(SUMS_MAX * JACOBIAN, 16);

export const scalar: usize = memory.data(ELEMENT, 16);
export const otherScalar: usize = memory.data(ELEMENT, 16);
export const associate: usize = memory.data(ELEMENT, 16);
/** One octet per binary digit, 1 for plus and 0 for minus, the lowest first. */
export const digits: usize = memory.data(DIGITS_MAX, 16);
/** What was taken from a table. */
export const entry: usize = memory.data(AFFINE, 16);

export const lazy1: usize = memory.data(ELEMENT, 16);
export const lazy2: usize = memory.data(ELEMENT, 16);
export const temporary1: usize = memory.data(ELEMENT, 16);
export const temporary2: usize = memory.data(ELEMENT, 16);
export const temporary3: usize = memory.data(ELEMENT, 16);
export const temporary4: usize = memory.data(ELEMENT, 16);
export const temporary5: usize = memory.data(ELEMENT, 16);
export const powers: usize = memory.data(INVERSION_SLOTS * ELEMENT, 16);
export const inverse: usize = memory.data(ELEMENT, 16);
export const prefixes: usize = memory.data(SUMS_MAX * ELEMENT, 16);
export const littleEndian: usize = memory.data(LITTLE_ENDIAN, 16);

/** Of a comb in the making, and of a batch of results. */
export const bases: usize = memory.data(2 * BASES_MAX * JACOBIAN, 16);
export const affineBases: usize = memory.data(2 * BASES_MAX * AFFINE, 16);
export const windowTable: usize = memory.data(WINDOW_ENTRIES * AFFINE, 16);

/** Where tables may begin. */
export function freeMemory(): usize {
  return (__heap_base + 15) & ~15;
}
