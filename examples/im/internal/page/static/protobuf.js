// The part of protobuf that the wire protocol uses: varints (uint32, int64, bool), strings, messages within
// messages, and lists of these.
//
// int64 is a BigInt everywhere: user ids and message ids use all 64 bits, a Number has 53.

const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;

// Nothing that the servers send nests deeper than two.
const MAX_DEPTH = 8;

/** What the decoder throws for bytes that are no message. */
export class WireError extends Error {}

/** Appends protobuf fields to a growing buffer. */
class Writer {
  #bytes = new Uint8Array(64);
  #length = 0;

  #room(n) {
    if (this.#length + n <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + n));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  varint(value) {
    this.#room(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest > 0x7fn) {
      this.#bytes[this.#length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  tag(number, type) {
    this.varint((number << 3) | type);
  }

  bytes(number, value) {
    this.tag(number, BYTES);
    this.varint(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  finish() {
    return this.#bytes.slice(0, this.#length);
  }
}

/** Takes protobuf fields from bytes that somebody else made: every length is checked against the end. */
class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get done() {
    return this.#at === this.#bytes.length;
  }

  varint() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.done) throw new WireError("message ends inside a number");
      const byte = this.#bytes[this.#at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (value >> 64n) break;
        return value;
      }
    }
    throw new WireError("number of more than 64 bits");
  }

  take(n) {
    if (n > this.#bytes.length - this.#at) throw new WireError("message ends inside a field");
    this.#at += n;
    return this.#bytes.subarray(this.#at - n, this.#at);
  }

  /** A length beyond what a message can hold is an error of take, so a Number will do. */
  bytes() {
    return this.take(Number(this.varint()));
  }

  skip(type) {
    switch (type) {
      case VARINT: this.varint(); break;
      case FIXED64: this.take(8); break;
      case BYTES: this.bytes(); break;
      case FIXED32: this.take(4); break;
      default: throw new WireError(`field of unknown type ${type}`);
    }
  }
}

const utf8 = new TextEncoder();
const strictUTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const scalars = {
  uint32: { type: VARINT, zero: 0, write: (v) => v >>> 0, read: (v) => Number(BigInt.asUintN(32, v)) },
  int64: { type: VARINT, zero: 0n, write: (v) => v, read: (v) => BigInt.asIntN(64, v) },
  bool: { type: VARINT, zero: false, write: (v) => (v ? 1 : 0), read: (v) => v !== 0n },
  string: { type: BYTES, zero: "" },
};

function readString(bytes) {
  try {
    return strictUTF8.decode(bytes);
  } catch {
    throw new WireError("string that is not UTF-8");
  }
}

/**
 * A message type. Fields are [number, name, type], where type is a key of scalars, or a message type, or
 * a list of one of either: [type].
 */
export class Type {
  #fields;
  #byNumber;

  constructor(...fields) {
    this.#fields = fields.map(([number, name, kind]) => {
      const repeated = Array.isArray(kind);
      const element = repeated ? kind[0] : kind;
      return { number, name, repeated, message: element instanceof Type ? element : null, scalar: scalars[element] };
    });
    this.#byNumber = new Map(this.#fields.map((field) => [field.number, field]));
  }

  /** Encodes value. A field that is missing or zero is not written, as proto3 has it. */
  encode(value) {
    const writer = new Writer();
    for (const field of this.#fields) {
      const given = value[field.name];
      if (given === undefined) continue;
      for (const item of field.repeated ? given : [given]) {
        if (!field.repeated && field.scalar && item === field.scalar.zero) continue;
        if (field.message) writer.bytes(field.number, field.message.encode(item));
        else if (field.scalar.type === BYTES) writer.bytes(field.number, utf8.encode(item));
        else {
          writer.tag(field.number, VARINT);
          writer.varint(field.scalar.write(item));
        }
      }
    }
    return writer.finish();
  }

  /** Decodes bytes. Fields that are missing are zero, unknown ones are skipped, and of several the last counts. */
  decode(bytes, depth = 0) {
    if (depth > MAX_DEPTH) throw new WireError("messages nested too deep");
    const value = {};
    for (const field of this.#fields) {
      value[field.name] = field.repeated ? [] : field.message ? null : field.scalar.zero;
    }
    const reader = new Reader(bytes);
    while (!reader.done) {
      const tag = Number(reader.varint());
      const number = Math.floor(tag / 8), type = tag % 8;
      if (number === 0) throw new WireError("field number 0");
      const field = this.#byNumber.get(number);
      const wanted = field && (field.message ? BYTES : field.scalar.type);
      if (field?.repeated && wanted === VARINT && type === BYTES) {
        // Lists of numbers come packed: one field that holds them all.
        const packed = new Reader(reader.bytes());
        while (!packed.done) value[field.name].push(field.scalar.read(packed.varint()));
        continue;
      }
      if (type !== wanted) {
        reader.skip(type);
        continue;
      }
      let item;
      if (field.message) item = field.message.decode(reader.bytes(), depth + 1);
      else if (type === BYTES) item = readString(reader.bytes());
      else item = field.scalar.read(reader.varint());
      if (field.repeated) value[field.name].push(item);
      else value[field.name] = item;
    }
    return value;
  }
}
