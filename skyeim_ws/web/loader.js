// What is fetched over HTTP: the overview, histories, searches.

import { fromStorage } from "./store.js";

const PAGE = 50;
const FIND_PAGES = 40;
const LIST_PAGES = 10;
const AT_ONCE = 6;

export class Loader {
  #client;
  #store;
  #underWay = new Map(); // conversation -> promise

  constructor(client, store) {
    this.#client = client;
    this.#store = store;
  }

  /** Fetch friends, groups and members, what was said last in each, and what is unread. */
  async overview() {
    const { api } = this.#client;
    const [friends, groups] = await Promise.all([api.friends(), api.groups()]);
    for (const { friendId, remark, status } of friends) {
      if (remark) this.#store.names.set(friendId, remark);
      if (status === 1) this.#store.private(friendId);
    }
    for (const { groupId, name } of groups) {
      this.#store.groupNames.set(groupId, name);
      this.#store.group(groupId);
    }
    const here = groups.map(({ groupId }) => this.#store.group(groupId));
    await each(here, async (group) => {
      group.members = await api.members(group.id);
      for (const { userId, nickname } of group.members) {
        if (nickname && !this.#store.names.has(userId)) this.#store.names.set(userId, nickname);
      }
    });
    await this.#lastMessages();
  }

  async #lastMessages() {
    let before;
    for (let page = 0; page < LIST_PAGES; page += 1) {
      const { list, hasMore } = await this.#client.api.conversations({ limit: 100, before });
      for (const { peerId, groupId, lastMessage, unreadCount } of list) {
        const conversation = groupId ? this.#store.group(groupId) : this.#store.private(peerId);
        conversation.unread = unreadCount;
        conversation.counted = lastMessage.id;
        if (!conversation.loaded) conversation.put(fromStorage(lastMessage, this.#store.ownId));
        before = lastMessage.id;
      }
      if (!hasMore || !list.length) break;
    }
  }

  /** Fetch the newest page, unless it is here and nothing can be missing. */
  newest(conversation) {
    if (conversation.loaded && !conversation.stale) return Promise.resolve();
    return this.#once(conversation, async () => {
      const page = await this.#history(conversation, { limit: PAGE });
      conversation.page(page, this.#store.ownId, false);
      conversation.stale = false;
    });
  }

  /** Fetch the page before what is here. */
  older(conversation) {
    if (!conversation.loaded || !conversation.hasOlder) return Promise.resolve();
    return this.#once(conversation, async () => {
      const page = await this.#history(conversation, { limit: PAGE, before: conversation.from });
      conversation.page(page, this.#store.ownId, true);
    });
  }

  /** Fetch older pages until a message is here. */
  async upTo(conversation, { msgId }) {
    await this.newest(conversation);
    for (let page = 0; page < FIND_PAGES && conversation.hasOlder; page += 1) {
      if (conversation.has(msgId)) return;
      await this.older(conversation);
    }
  }

  /** Return messages with a word, newest first. */
  search(keyword) {
    return this.#client.api.search(keyword);
  }

  #history({ isGroup, id }, query) {
    return this.#client.api.history({ ...(isGroup ? { groupId: id } : { peerId: id }), ...query });
  }

  #once(conversation, fetch) {
    if (!this.#underWay.has(conversation)) {
      const done = () => this.#underWay.delete(conversation);
      this.#underWay.set(conversation, fetch().finally(done));
    }
    return this.#underWay.get(conversation);
  }
}

/** Do something for each item, a few at a time. */
async function each(items, work) {
  const rest = [...items];
  const worker = async () => {
    for (let item; (item = rest.shift()) !== undefined;) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
