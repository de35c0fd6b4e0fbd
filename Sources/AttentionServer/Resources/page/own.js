// One's own weights: a row, a matrix, or layers × heads × T × T, from JSON, CSV or safetensors.
//
// Nothing is sent: the file is read by the page. What cannot be read is refused with where, and what is wanted.

export class Unreadable extends Error {}

const limit = 2048;

/** @returns {{shape: number[], numbers: Float32Array, texts: string[] | null}} with a shape of 1, 2 or 4 dimensions. */
export function fromText(text) {
  const start = text.trimStart()[0];
  return checked(start === "[" || start === "{" ? fromJSON(text) : fromCSV(text));
}

export function fromBytes(bytes) {
  const view = new DataView(bytes);
  if (bytes.byteLength > 8) {
    const length = Number(view.getBigUint64(0, true));
    if (length > 1 && length < 100e6 && length <= bytes.byteLength - 8 && view.getUint8(8) === 0x7b) {
      return checked(fromSafetensors(bytes, length));
    }
  }
  let text;
  try { text = new TextDecoder("utf-8", { fatal: true }).decode(bytes); } catch {
    throw new Unreadable("The file is neither UTF-8 text nor safetensors. Give JSON, CSV or safetensors.");
  }
  return fromText(text);
}

function fromJSON(text) {
  let value;
  try { value = JSON.parse(text); } catch (error) {
    throw new Unreadable(`The text is not JSON: ${error.message}. Give nested arrays, such as [[0.9, 0.1], [0.3, 0.7]].`);
  }
  let texts = null;
  if (!Array.isArray(value)) {
    if (value?.words !== undefined && !(Array.isArray(value.words) && value.words.every((word) => typeof word === "string"))) {
      throw new Unreadable("The member words is no array of strings.");
    }
    texts = value?.words ?? null;
    value = value?.weights;
    if (!Array.isArray(value)) {
      throw new Unreadable('The object has no array weights. Give {"words": ["Hello", "world"], "weights": [0.9, 0.1]}.');
    }
  }
  const shape = [];
  for (let level = value; Array.isArray(level) && shape.length < 5; level = level[0]) shape.push(level.length);
  const numbers = [];
  (function collect(level, depth, path) {
    if (depth === shape.length) {
      if (typeof level !== "number") throw new Unreadable(`At ${path || "the top"} stands ${JSON.stringify(level)?.slice(0, 40)}, which is no number.`);
      numbers.push(level);
      return;
    }
    if (!Array.isArray(level) || level.length !== shape[depth]) {
      throw new Unreadable(`At ${path || "the top"} stand ${Array.isArray(level) ? level.length : "no"} elements, but ${shape[depth]} at the first place of that depth. All rows need the same length.`);
    }
    level.forEach((inner, index) => collect(inner, depth + 1, `${path}[${index}]`));
  })(value, 0, "");
  return { shape, numbers: Float32Array.from(numbers), texts };
}

function fromCSV(text) {
  const lines = text.split(/\r\n|\n|\r/).filter((line) => line.trim());
  const cells = lines.map((line) => line.split(/[,;\t]/).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1")));
  if (!cells.length) throw new Unreadable("There is nothing to read. Paste numbers, such as 0.9, 0.1.");
  let texts = null;
  if (cells[0].some((cell) => cell === "" || Number.isNaN(Number(cell)))) {
    texts = cells.shift();
    if (!cells.length) throw new Unreadable("Below the words stand no numbers. Put a line of weights there.");
  }
  const width = cells[0].length;
  const numbers = cells.flatMap((row, index) => {
    if (row.length !== width) throw new Unreadable(`Row ${index} has ${row.length} cells, but row 0 has ${width}. All rows need the same length.`);
    return row.map((cell, column) => {
      if (cell === "" || Number.isNaN(Number(cell))) throw new Unreadable(`Row ${index}, column ${column} is “${cell.slice(0, 40)}”, which is no number.`);
      return Number(cell);
    });
  });
  return { shape: cells.length === 1 ? [width] : [cells.length, width], numbers: Float32Array.from(numbers), texts };
}

function fromSafetensors(bytes, length) {
  let header;
  try { header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length))); } catch {
    throw new Unreadable("The header of the safetensors file is no JSON: the file is damaged.");
  }
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  const name = names.includes("weights") ? "weights" : names[0];
  if (!name || (names.length > 1 && name !== "weights")) {
    throw new Unreadable(`The file has ${names.length} tensors. Give one, or call it weights.`);
  }
  const { dtype, shape, data_offsets: offsets } = header[name] ?? {};
  const sizes = { F64: 8, F32: 4, F16: 2, BF16: 2 };
  const count = Array.isArray(shape) ? shape.reduce((product, size) => product * size, 1) : NaN;
  if (!sizes[dtype]) throw new Unreadable(`The tensor ${name} is ${dtype}; F64, F32, F16 and BF16 are read.`);
  const [start, end] = Array.isArray(offsets) ? offsets : [];
  if (!Number.isSafeInteger(count) || end - start !== count * sizes[dtype] || !(start >= 0) || 8 + length + end > bytes.byteLength) {
    throw new Unreadable(`The tensor ${name} has other bytes than its shape says: the file is damaged.`);
  }
  const view = new DataView(bytes, 8 + length + start, end - start);
  const read = {
    F64: (index) => view.getFloat64(8 * index, true),
    F32: (index) => view.getFloat32(4 * index, true),
    F16: (index) => half(view.getUint16(2 * index, true)),
    BF16: (index) => { scratch.setUint32(0, view.getUint16(2 * index, true) << 16); return scratch.getFloat32(0); },
  }[dtype];
  return { shape, numbers: Float32Array.from({ length: count }, (_, index) => read(index)), texts: null };
}

const scratch = new DataView(new ArrayBuffer(4));
function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * fraction / 1024);
}

function checked({ shape, numbers, texts }) {
  const last = shape.at(-1);
  const isSquare = shape.length === 1 || shape.at(-2) === last;
  if (![1, 2, 4].includes(shape.length) || !isSquare || !numbers.length) {
    throw new Unreadable(`The shape is ${shape.join(" × ") || "empty"}; a row, a T × T matrix, or layers × heads × T × T is wanted.`);
  }
  if (last > limit) throw new Unreadable(`There are ${last} positions; at most ${limit} are drawn.`);
  if (texts && texts.length !== last) throw new Unreadable(`There are ${texts.length} words for ${last} weights in a row.`);
  const odd = numbers.findIndex((number) => !(number >= 0 && number <= 1));
  if (odd >= 0) {
    throw new Unreadable(`Number ${odd} is ${numbers[odd]}; weights are from 0 to 1.`);
  }
  return { shape, numbers, texts: texts ?? Array.from({ length: last }, (_, index) => `${index}`) };
}
