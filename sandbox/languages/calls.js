// Answers calls of a program's functions: reads them from descriptor 4, writes answers to descriptor 3.
//
// The frames and the tagged values are those of sandbox/inside/codec.py. Nothing here is secret or trusted: whatever
// the program does to this process, it can only spoil or forge its own answers. What is used after the program was
// loaded is kept aside before, so that an honest program may change the language's own objects.
"use strict";

const fs = require("fs");
const path = require("path");
const vm = require("vm");

const { Map, Set, Uint8Array, Promise, BigInt, Array, Object, Error, String, Number } = globalThis;

const CALLS = 4;
const ANSWERS = 3;
const MAX_DEPTH = 60;
const write = fs.writeSync;
const quote = JSON.stringify;
const toBuffer = Buffer.from;
const isArray = Array.isArray;
const isInteger = Number.isSafeInteger;
const prototypeOf = Object.getPrototypeOf;
const keysOf = Object.keys;
const bits = new DataView(new ArrayBuffer(8));
const plain = Object.prototype;

class Unsupported extends Error {}

function readFrame(fd) {
  const head = readExactly(fd, 4);
  return JSON.parse(readExactly(fd, head.readUInt32BE(0)).toString("utf-8"));
}

function readExactly(fd, size) {
  const buffer = Buffer.alloc(size);
  let at = 0;
  while (at < size) {
    const got = fs.readSync(fd, buffer, at, size - at, null);
    if (got === 0) throw new Error("the calls end too soon");
    at += got;
  }
  return buffer;
}

function send(text) {
  const body = toBuffer(text, "utf-8");
  const size = body.length;
  writeAll(toBuffer([(size >>> 24) & 255, (size >>> 16) & 255, (size >>> 8) & 255, size & 255]));
  writeAll(body);
}

function writeAll(buffer) {
  let at = 0;
  while (at < buffer.length) {
    try {
      at += write(ANSWERS, buffer, at, buffer.length - at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

// Values -> text

function encode(value, depth, hashed) {
  if (depth > MAX_DEPTH) throw new Unsupported(`nested deeper than ${MAX_DEPTH}`);
  switch (typeof value) {
    case "undefined":
      return "null";
    case "boolean":
      return value ? "true" : "false";
    case "string":
      return quote(value);
    case "bigint":
      return `{"i":"${value < 0n ? "-" : ""}0x${(value < 0n ? -value : value).toString(16)}"}`;
    case "number":
      return isInteger(value) && !(value === 0 && 1 / value < 0) ? String(value) : `{"f":"${hexOf(value)}"}`;
    case "object":
      return value === null ? "null" : encodeObject(value, depth + 1, hashed);
    default:
      throw new Unsupported(`a value of type ${typeof value}`);
  }
}

function encodeObject(value, depth, hashed) {
  if (isArray(value)) {
    // In a set or as a key it must be something that can be hashed: a tuple.
    const items = join(value.length, (index) => encode(value[index], depth, hashed));
    return hashed ? `{"t":[${items}]}` : `[${items}]`;
  }
  if (hashed) throw new Unsupported("an object inside a set or as a key");
  const parent = prototypeOf(value);
  if (parent === plain || parent === null) {
    const keys = keysOf(value);
    return `{"d":[${join(keys.length, (at) => `[${quote(keys[at])},${encode(value[keys[at]], depth, false)}]`)}]}`;
  }
  if (parent === Map.prototype) {
    const pairs = [...value];
    const pair = (at) => `[${encode(pairs[at][0], depth, true)},${encode(pairs[at][1], depth, false)}]`;
    return `{"d":[${join(pairs.length, pair)}]}`;
  }
  if (parent === Set.prototype) {
    const items = [...value];
    return `{"s":[${join(items.length, (at) => encode(items[at], depth, true))}]}`;
  }
  if (value instanceof Uint8Array) {
    return `{"b":"${toBuffer(value).toString("hex")}"}`;
  }
  const name = value.constructor && value.constructor.name;
  throw new Unsupported(`a value of type ${typeof name === "string" && name ? name.slice(0, 80) : "object"}`);
}

function join(count, part) {
  let text = "";
  for (let at = 0; at < count; at++) text += (at ? "," : "") + part(at);
  return text;
}

// As Python's float.hex writes it.
function hexOf(number) {
  if (number !== number) return "nan";
  if (number === Infinity || number === -Infinity) return number < 0 ? "-inf" : "inf";
  bits.setFloat64(0, number);
  const high = bits.getUint32(0);
  const exponent = (high >>> 20) & 0x7ff;
  const mantissa = (high & 0xfffff).toString(16).padStart(5, "0") + bits.getUint32(4).toString(16).padStart(8, "0");
  const power = exponent ? exponent - 1023 : -1022;
  return `${high >>> 31 ? "-" : ""}0x${exponent ? 1 : 0}.${mantissa}p${power < 0 ? "" : "+"}${power}`;
}

// Text -> values

function decode(data) {
  if (data === null || typeof data !== "object") return data;
  if (isArray(data)) return data.map(decode);
  const [tag] = keysOf(data);
  const body = data[tag];
  switch (tag) {
    case "t":
      return body.map(decode);
    case "d":
      return decodeItems(body);
    case "k":
      return decodeItems(body[2]);
    case "s":
    case "z":
      return new Set(body.map(decode));
    case "f":
      return numberOf(body);
    case "i":
      return body.startsWith("-") ? -BigInt(body.slice(1)) : BigInt(body);
    case "b":
      return new Uint8Array(Buffer.from(body, "hex"));
    default:
      throw new Unsupported(`an argument of kind ${tag}`);
  }
}

// Text keys make an object, any other a Map.
function decodeItems(pairs) {
  if (!pairs.every(([key]) => typeof key === "string")) {
    return new Map(pairs.map(([key, value]) => [decode(key), decode(value)]));
  }
  const found = {};
  for (const [key, value] of pairs) {
    Object.defineProperty(found, key, { value: decode(value), writable: true, enumerable: true, configurable: true });
  }
  return found;
}

function numberOf(hex) {
  const found = /^(-?)0x([01])\.([0-9a-f]+)p([+-]\d+)$/.exec(hex);
  if (!found) return hex === "nan" ? NaN : hex === "-inf" ? -Infinity : Infinity;
  const [, sign, whole, digits, power] = found;
  const mantissa = Number(whole) + parseInt(digits, 16) / 16 ** digits.length;
  return (sign ? -1 : 1) * mantissa * 2 ** Number(power);
}

// The program

function describe(error) {
  let name = "Error";
  let message = "";
  try {
    name = error instanceof Error ? String(error.name) : typeof error;
    message = error instanceof Error ? String(error.message) : String(error);
  } catch {} // it may be anything, even something that throws when it is asked for its text
  const deep = name === "RangeError" && message.startsWith("Maximum call stack");
  const base = deep ? "RecursionError" : message === "Array buffer allocation failed" ? "MemoryError" : "Exception";
  return `"raised":${quote(name.slice(0, 80))},"base":"${base}","message":${quote(message.slice(0, 200))}`;
}

// A script's own names are the global ones, so a function is found however it was declared.
async function load(file) {
  if (file.endsWith(".mjs")) {
    const module = await import(path.resolve(file));
    return (name) => module[name] ?? (module.default && module.default[name]) ?? module.default;
  }
  const module = { exports: {} };
  globalThis.module = module;
  globalThis.exports = module.exports;
  globalThis.require = require("module").createRequire(path.resolve(file));
  globalThis.__filename = path.resolve(file);
  globalThis.__dirname = path.dirname(globalThis.__filename);
  const script = new vm.Script(fs.readFileSync(file, "utf-8"), { filename: file });
  const run = vm.runInThisContext;
  script.runInThisContext();
  return (name) => {
    const found = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? run(`typeof ${name} === "undefined" ? undefined : ${name}`) : undefined;
    if (found !== undefined) return found;
    if (typeof module.exports === "function") return module.exports;
    return module.exports[name] ?? methodOf(run('typeof Solution === "undefined" ? undefined : Solution'), name);
  };
}

function methodOf(type, name) {
  if (typeof type !== "function") return undefined;
  if (typeof type[name] === "function") return (...args) => type[name](...args);
  return (...args) => new type()[name](...args);
}

async function answer(request, find) {
  try {
    const call = find(request.call);
    if (typeof call !== "function") throw new ReferenceError(`${request.call} is not a function`);
    let value = call(...decode(request.args));
    if (value instanceof Promise) value = await value;
    return `"value":${encode(value, 0, false)}`;
  } catch (error) {
    return error instanceof Unsupported ? `"unsupported":${quote(error.message)}` : describe(error);
  }
}

async function main() {
  const { calls, most_bytes: mostBytes } = readFrame(CALLS);
  let find;
  try {
    find = await load(process.argv[2]);
  } catch (error) {
    send(`{"does_not_load":{${describe(error)}}}`);
    return;
  }
  send('{"loaded":true}');
  for (const request of calls) {
    const text = `{"id":${request.id},${await answer(request, find)}}`;
    send(text.length > mostBytes ? `{"id":${request.id},"too_big":${text.length}}` : text);
  }
  writeAll(toBuffer([0, 0, 0, 0]));
}

main();
