/** Big-endian octets to limbs and back. */
import { COORDINATE_BYTES, LIMBS, WIDTH } from './curve';
import { LITTLE_ENDIAN, littleEndian } from './layout';

export function readInteger(out: usize, octets: usize): void {
  for (let i = 0; i < COORDINATE_BYTES; i++) {
    store<u8>(littleEndian + i, load<u8>(octets + COORDINATE_BYTES - 1 - i));
  }
  for (let i = 0; i < LIMBS; i++) {
    const bit = i * WIDTH;
    const word = load<u64>(littleEndian + (bit >> 3)) >> (bit & 7);
    store<i32>(out + 4 * i, <i32>(word & ((1 << WIDTH) - 1)));
  }
}

/** @param a - canonical */
export function writeInteger(octets: usize, a: usize): void {
  memory.fill(littleEndian, 0, LITTLE_ENDIAN);
  for (let i = 0; i < LIMBS; i++) {
    const bit = i * WIDTH;
    const at = littleEndian + (bit >> 3);
    store<u64>(at, load<u64>(at) | ((<u64>load<i32>(a + 4 * i)) << (bit & 7)));
  }
  for (let i = 0; i < COORDINATE_BYTES; i++) {
    store<u8>(octets + COORDINATE_BYTES - 1 - i, load<u8>(littleEndian + i));
  }
  memory.fill(littleEndian, 0, LITTLE_ENDIAN);
}

/** All ones if a is less than b, both with limbs that are not negative. */
export function lessMask(a: usize, b: usize): i32 {
  let carry: i32 = 0;
  for (let i = 0; i < LIMBS; i++) {
    carry = (load<i32>(a + 4 * i) - load<i32>(b + 4 * i) + carry) >> WIDTH;
  }
  return carry;
}
