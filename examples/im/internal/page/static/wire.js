// The messages between the page and an access server, as im.proto describes them. A WebSocket message is one
// of them, and field 1 says which.

import { Type, WireError } from "./protobuf.js";

export { WireError };

export const Cmd = {
  login: 20001, ping: 20002, sendDirect: 20003, sendGroup: 20005, notify: 20007, joinGroup: 20008,
  leaveGroup: 20009, presence: 20010, whoAmI: 20011, history: 20012, members: 20013, error: 90001,
};

export const Code = { ok: 0, server: 90001, noToken: 93001, wrongToken: 93002, replaced: 93003, elsewhere: 93004,
  refused: 94001, full: 94002, tooFast: 94003 };

export const Presence = { unknown: 0, online: 1, offline: 2 };

/** The longest message in bytes, in either direction. */
export const MAX_MESSAGE = 65535;

const cmd = [1, "cmd", "uint32"];
const request = (...fields) => new Type(cmd, ...fields);
const answer = (...fields) => new Type(cmd, [3, "errCode", "uint32"], [4, "errStr", "string"], ...fields);
const error = new Type(cmd, [2, "errCode", "uint32"], [3, "errStr", "string"]);

const user = new Type([1, "UID", "int64"], [2, "presence", "uint32"], [3, "server", "string"]);
const record = new Type(
  [1, "sourceUID", "int64"], [2, "targetUID", "int64"], [3, "groupID", "int64"], [4, "msgType", "string"],
  [5, "msgID", "string"], [6, "msg", "string"], [7, "ID", "int64"], [8, "version", "int64"], [9, "time", "int64"],
);

const requests = {
  [Cmd.login]: request([3, "UID", "int64"], [4, "token", "string"]),
  [Cmd.ping]: request([3, "UID", "int64"]),
  [Cmd.sendDirect]: request([3, "sourceUID", "int64"], [4, "targetUID", "int64"], [5, "msgID", "string"], [6, "msg", "string"]),
  [Cmd.sendGroup]: request([3, "sourceUID", "int64"], [4, "groupID", "int64"], [5, "msgID", "string"], [6, "msg", "string"]),
  [Cmd.joinGroup]: request([3, "UID", "int64"], [4, "groupID", "int64"]),
  [Cmd.leaveGroup]: request([3, "UID", "int64"], [4, "groupID", "int64"]),
  [Cmd.presence]: request([3, "UID", "int64"], [4, "UIDs", ["int64"]]),
  [Cmd.whoAmI]: request(),
  [Cmd.history]: request([3, "UID", "int64"], [4, "currentID", "int64"]),
  [Cmd.members]: request([3, "UID", "int64"], [4, "groupID", "int64"]),
};

const answers = {
  [Cmd.login]: error,
  [Cmd.ping]: error,
  [Cmd.error]: error,
  [Cmd.sendDirect]: answer([5, "sourceUID", "int64"], [6, "targetUID", "int64"], [7, "msgID", "string"], [8, "msg", "string"]),
  [Cmd.sendGroup]: answer(),
  [Cmd.notify]: answer([5, "currentID", "int64"]),
  [Cmd.joinGroup]: answer([5, "groupID", "int64"], [6, "currentID", "int64"]),
  [Cmd.leaveGroup]: answer([5, "groupID", "int64"]),
  [Cmd.presence]: answer([5, "users", [user]]),
  [Cmd.whoAmI]: answer([5, "UID", "int64"], [6, "server", "string"], [7, "groupIDs", ["int64"]]),
  [Cmd.history]: answer([5, "currentID", "int64"], [6, "more", "bool"], [7, "records", [record]]),
  [Cmd.members]: answer([5, "groupID", "int64"], [6, "UIDs", ["int64"]], [7, "more", "bool"]),
};

const anyCommand = new Type(cmd);

/** Encodes what the page sends: fields by the names of im.proto. */
export const encode = (cmd, fields = {}) => requests[cmd].encode({ ...fields, cmd });

/** Decodes what an access server sends. Throws a WireError for anything else. */
export function decode(bytes) {
  const { cmd } = anyCommand.decode(bytes);
  const type = answers[cmd];
  if (!type) throw new WireError(`unknown command ${cmd}`);
  return type.decode(bytes);
}
