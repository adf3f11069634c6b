// google.protobuf.Struct to and from plain values, timestamps, and google.rpc.Status as bytes.
'use strict';

const protobuf = require('protobufjs');

const Status = new protobuf.Type('Status')
  .add(new protobuf.Field('code', 1, 'int32'))
  .add(new protobuf.Field('message', 2, 'string'));
new protobuf.Root().add(Status);

// A bare status: code and text. The contract asks for no details.
function statusBytes(code, message) {
  return Buffer.from(Status.encode({ code, message }).finish());
}

function toValue(value) {
  if (value === null || value === undefined) return { nullValue: 0 };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(toValue) } };
  return { structValue: toStruct(value) };
}

function toStruct(value) {
  return { fields: Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, toValue(inner)])) };
}

function fromValue(value) {
  switch (value.kind) {
    case 'numberValue':
    case 'stringValue':
    case 'boolValue':
      return value[value.kind];
    case 'listValue':
      return (value.listValue.values || []).map(fromValue);
    case 'structValue':
      return fromStruct(value.structValue);
    default:
      return null;
  }
}

function fromStruct(struct) {
  const fields = (struct && struct.fields) || {};
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, fromValue(value)]));
}

function now() {
  const milliseconds = Date.now();
  return { seconds: String(Math.floor(milliseconds / 1000)), nanos: (milliseconds % 1000) * 1000000 };
}

module.exports = { statusBytes, toStruct, fromStruct, now };
