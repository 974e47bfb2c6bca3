// Types of the SkyeIM client. Times are Unix seconds as on the wire, unless a name says ms.

/** A number; a string of digits where the id is beyond 2^53. */
export type Id = number | string;

export type State = "idle" | "token" | "connecting" | "open" | "waiting" | "stopped";

/** Why a client has stopped: it does not come back by itself. */
export type StopReason =
  "closed" | "kicked" | "token_expired" | "unauthorized" | "protocol_error" | "message_too_large";

export type Reason =
  | "invalid"
  | "not_friend"
  | "blocked"
  | "group_not_found"
  | "not_member"
  | "muted"
  | "at_all_denied"
  | "rate_limited"
  | "busy"
  | "rpc_error"
  | "msg_id_conflict"
  | "queue_full"
  | "closed"
  | "no_token"
  | "unreachable"
  | "timeout"
  | (string & {});

/** 1 text, 2 picture, 3 file, 4 voice, 5 video. */
export type ContentType = 1 | 2 | 3 | 4 | 5;

/** What failed. `reason` is a constant to be compared with, `code` that of the protocol or HTTP. */
export class SkyeError extends Error {
  constructor(reason: Reason, message?: string, code?: number);
  readonly reason: Reason;
  readonly code: number;
}

export interface Message {
  id: Id;
  msgId: string;
  fromUserId: Id;
  /** In private messages. */
  toUserId?: Id;
  /** In messages of a group. */
  groupId?: string;
  seq?: number;
  atUserIds?: Id[];
  content: string;
  contentType: ContentType;
  createdAt: number;
}

/** A message as storage has it: `toUserId` is 0 or `groupId` is "" where it does not apply. */
export interface StoredMessage extends Message {
  toUserId: Id;
  groupId: string;
  seq: number;
  atUserIds: Id[];
  /** 1 private, 2 group. */
  chatType: 1 | 2;
  /** 0 unread, 1 read, 2 recalled. */
  status: 0 | 1 | 2;
}

export interface Sent {
  msgId: string;
  id: Id;
  timestamp: number;
  /** Of group messages. */
  seq?: number;
}

export type Target = { to: Id; groupId?: undefined } | { groupId: string; to?: undefined };

export type Draft = Target & {
  /** 1 to 16,384 characters. */
  content: string;
  contentType?: ContentType;
  /** In a group: who is mentioned; -1 is everyone. */
  atUserIds?: Id[];
  /** The key of idempotence; a random UUID by default. */
  msgId?: string;
};

/** Where a client stands: kept by the application, it lets the next one go on from here. */
export interface Snapshot {
  resume?: Id;
  groups: Record<string, number>;
  groupIds?: Record<string, Id>;
  pending: { type: "chat" | "group_chat"; data: object }[];
}

export interface Options {
  /** Of the gateway: `wss://chat.example.com/ws`, or the same with https and without the path. */
  url: string | URL;
  /**
   * A token, or a function that gets one. It is called before the first connection, before the
   * token expires, and with `fresh` after the server has refused the one before.
   */
  token: string | ((wish: { fresh: boolean }) => string | Promise<string>);
  /** A name of this device for the server's log, 1 to 64 characters. */
  device?: string;
  /** What `snapshot()` of an earlier client returned. */
  state?: Partial<Snapshot>;
  /** ms between pings (25,000), and until an answer must have come (10,000). */
  pingInterval?: number;
  pongTimeout?: number;
  /** Messages that may wait to be sent (1,000). */
  queueLimit?: number;
  /** Where there is none globally, as in Node.js 20: that of `ws` or undici. */
  WebSocket?: new (url: string, protocols: string[]) => any;
  fetch?: typeof fetch;
}

export interface Events {
  /** `retryAt` (ms since 1970) comes with `waiting`, `reason` with `stopped`. */
  state: {
    state: State;
    reason?: StopReason | string;
    code?: number;
    retryAt?: number;
    userId?: Id;
  };
  /** At each connection. */
  connected: {
    userId: Id;
    onlineCount: number;
    connectedAt: number;
    connId: string;
    server: string;
  };
  /** Each message once: private ones in the order of id, those of a group in the order of seq. */
  message: Message;
  /** A message of ours is stored. */
  sent: Sent;
  /** A message of ours will not be stored. */
  failed: { msgId: string; reason: Reason; code: number };
  /** The receiver's client has a message of ours. */
  delivered: { msgId: string };
  /** Messages of ours were read: those named, or all to `userId` when `msgIds` is null. */
  read: { userId: Id | null; msgIds: string[] | null };
  /** Somebody types, or no longer does. */
  typing: { userId: Id; groupId?: string; active: boolean };
  /** Of a watched user; null: not known, as there is no connection. */
  presence: { userId: Id; online: boolean | null };
  /** The user is not in a followed group any more. */
  group_lost: { groupId: string };
  /** Another login took the place; the state `stopped` follows. */
  kicked: { reason: string };
  /** A business event, such as `friend_request`. */
  event: { type: string; data: any };
  /** Something failed that no promise tells of. */
  error: { code: number; message: string; msgId?: string };
}

export interface Page {
  list: StoredMessage[];
  hasMore: boolean;
}

export interface Conversation {
  peerId?: Id;
  groupId?: string;
  lastMessage: StoredMessage;
  unreadCount: number;
}

export interface Friend {
  id: Id;
  friendId: Id;
  remark: string;
  /** 1 normal, 2 blocked. */
  status: 1 | 2;
  createdAt: number;
}

export interface Group {
  groupId: string;
  name: string;
  avatar: string;
  ownerId: Id;
  description: string;
  memberCount: number;
  maxMembers: number;
  status: number;
  createdAt: number;
  updatedAt: number;
}

export interface Member {
  userId: Id;
  /** 1 owner, 2 admin, 3 member. */
  role: 1 | 2 | 3;
  nickname: string;
  mute: number;
  joinedAt: number;
  readSeq: number;
}

/** The calls over HTTP; they reject with a SkyeError. */
export interface Api {
  readonly base: URL;
  history(
    query: { before?: Id; limit?: number } & ({ peerId: Id } | { groupId: string }),
  ): Promise<Page>;
  sync(groupId: string, seq: number): Promise<Page>;
  conversations(query?: {
    limit?: number;
    before?: Id;
  }): Promise<{ list: Conversation[]; hasMore: boolean }>;
  search(keyword: string): Promise<StoredMessage[]>;
  mentions(query?: { groupId?: string; before?: Id; limit?: number }): Promise<Page>;
  unreadCount(peerId?: Id): Promise<number>;
  friends(): Promise<Friend[]>;
  groups(): Promise<Group[]>;
  members(groupId: string): Promise<Member[]>;
  /** Any other call; returns `data` of the answer. */
  get(path: string, query?: Record<string, string | number | undefined>): Promise<any>;
}

/** One user's connection to SkyeIM, which comes back by itself. */
export class SkyeIM {
  constructor(options: Options);
  readonly state: State;
  readonly userId: Id | null;
  readonly api: Api;

  /** Resolves when connected, rejects when the client has stopped; then it may be called again. */
  connect(): Promise<void>;
  /** Tries at once, unless the server has said when to come back. */
  retry(): void;
  /** Ends the connection for good; what was not sent is rejected with `closed`. */
  close(): void;
  snapshot(): Snapshot;
  on<Name extends keyof Events>(event: Name, handler: (data: Events[Name]) => void): () => void;

  /**
   * Sends now, or when there is a connection again; resolves when the message is stored, rejects
   * with a SkyeError when it never will be. Messages of a conversation keep their order.
   */
  send(draft: Draft): Promise<Sent>;
  /** Marks messages from a user as read: those named, or all. */
  read(peerId: Id, msgIds?: string[] | null): void;
  readGroup(groupId: string, seq: number): void;
  /** To be called at each key; one notice in 3 s goes out. */
  typing(target: Target): void;
  /** Follows the presence of friends. */
  watch(userIds: Id[]): void;
  online(userId: Id): boolean | null;
  /** Everything of the group above `seq` comes as `message`, whatever was missed meanwhile. */
  follow(groupId: string, seq?: number): void;
}

/** Characters of a message. */
export const MAX_CONTENT: number;
export function newMsgId(): string;
/** Compares two ids as integers: below 0, 0 or above 0. */
export function compareIds(one: Id, other: Id): number;
export function toId(value: Id | bigint): Id;
