/** The numbers of a JSON array, read from its bytes: charts decode tens of thousands at a time. */
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const nine = 0x39;
const bracketEnd = 0x5d;
const letterL = 0x6c;
const letterN = 0x6e;
const letterU = 0x75;

/** Of the longest array yet. */
let scratch = new Float64Array(4096);

/**
 * Half the time of `JSON.parse`. Where the digits are an exact integer, so is the power of ten, and their quotient is the
 * double nearest to the text (IEEE 754-2019 §5.4.1), as it is for `JSON.parse`.
 *
 * @param json - an array, written without blanks
 * @returns memory that the next call writes into, NaN for null; undefined if there is anything else than null and numbers without an exponent
 */
export function parseNumbers(json: Uint8Array): Float64Array | undefined {
  const itemsMax = Math.ceil(json.length / 2);
  if (scratch.length < itemsMax) scratch = new Float64Array(itemsMax);
  let count = 0;
  let digits = 0;
  let scale = 1;
  let isNegative = false;
  let isFraction = false;
  let isNull = false;
  for (let at = 1; at < json.length; at++) {
    const code = json[at] ?? 0;
    if (code >= zero && code <= nine) {
      digits = digits * 10 + (code - zero);
      if (isFraction) scale *= 10;
    } else if (code === comma || code === bracketEnd) {
      if (digits > Number.MAX_SAFE_INTEGER) return undefined;
      const value = isNull ? NaN : digits / scale;
      scratch[count++] = isNegative ? -value : value;
      digits = 0;
      scale = 1;
      isNegative = false;
      isFraction = false;
      isNull = false;
    } else if (code === point) isFraction = true;
    else if (code === minus) isNegative = true;
    else if (code === letterN) isNull = true;
    else if (!isNull || (code !== letterU && code !== letterL)) return undefined;
  }
  return scratch.subarray(0, json.length > 2 ? count : 0);
}
