// The sidebar with the list of conversations; on a narrow screen it covers the page while it is open.

import { announce } from "./announce.js";
import { byId, el, iconButton } from "./dom.js";
import { exportJson, exportMarkdown } from "./export.js";
import { dateTime, number, onLanguage, t } from "./language.js";
import { openMenu } from "./menu.js";
import { askText, confirmed } from "./question.js";

export class Sidebar {
  #conversations;
  #answers;
  #element = byId("sidebar");
  #search = byId("search");
  #narrow = matchMedia("(max-width: 52rem)");

  constructor(conversations, answers) {
    this.#conversations = conversations;
    this.#answers = answers;
    byId("new").addEventListener("click", () => this.#create());
    byId("open-sidebar").addEventListener("click", () => this.#open());
    byId("close-sidebar").addEventListener("click", () => this.#close());
    byId("backdrop").addEventListener("click", () => this.#close());
    byId("delete-all").addEventListener("click", () => this.#removeAll());
    this.#search.addEventListener("input", () => this.#find());
    this.#element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#narrow.matches) return;
      event.preventDefault();
      this.#close();
    });
    this.#narrow.addEventListener("change", () => this.#close());
    conversations.addEventListener("list", () => this.render());
    for (const type of ["start", "end"]) answers.addEventListener(type, () => this.render());
    onLanguage(() => this.render());
    this.#close();
    this.render();
  }

  render() {
    const { list, current } = this.#conversations;
    const found = this.#search.value.trim() ? this.#conversations.find(this.#search.value) : list;
    byId("no-conversations").hidden = list.length > 0;
    byId("nothing-found").hidden = found.length > 0 || list.length === 0;
    byId("delete-all").hidden = this.#search.hidden = list.length === 0;
    const focusedId = this.#element.contains(document.activeElement) && document.activeElement.closest("li")?.dataset.id;
    byId("conversations").replaceChildren(...found.map((each) => this.#row(each, each === current)));
    if (focusedId) byId("conversations").querySelector(`[data-id="${CSS.escape(focusedId)}"] button`)?.focus();
  }

  #row(conversation, isCurrent) {
    const title = el("span", { class: "title" }, conversation.title);
    const time = el("span", { class: "time" }, dateTime(conversation.updated));
    const open = el(
      "button",
      { type: "button", class: "open", "aria-current": isCurrent ? "true" : null, onclick: () => this.#openConversation(conversation) },
      title,
      time,
    );
    const label = t("sidebar.more", { title: conversation.title });
    const more = iconButton("more", label, () => openMenu(more, this.#items(conversation)), {
      "aria-haspopup": "menu",
      "aria-expanded": "false",
    });
    const running = this.#answers.isRunning(conversation);
    return el("li", { "data-id": conversation.id, class: running ? "running" : "" }, open, more);
  }

  #items(conversation) {
    return [
      { icon: "edit", label: t("sidebar.rename"), act: () => this.#rename(conversation) },
      { icon: "download", label: t("sidebar.markdown"), act: () => exportMarkdown(conversation) },
      { icon: "download", label: t("sidebar.json"), act: () => exportJson(conversation) },
      { icon: "trash", label: t("sidebar.delete"), act: () => this.#remove(conversation), danger: true },
    ];
  }

  #find() {
    this.render();
    const count = byId("conversations").children.length;
    announce(t("sidebar.found", { count, number: number(count) }));
  }

  #create() {
    this.#conversations.create();
    this.#showChat();
  }

  #openConversation(conversation) {
    this.#conversations.open(conversation.id);
    this.#showChat();
  }

  /** Show the current conversation, and focus its input. */
  #showChat() {
    this.#close();
    const focus = () => byId("message").focus();
    if (byId("chat").hidden) {
      // The view changes with the URL's hash, after which the input can have the focus.
      addEventListener("hashchange", focus, { once: true });
      location.hash = "#chat";
    } else focus();
  }

  async #rename(conversation) {
    const title = await askText(t("sidebar.rename.title"), conversation.title);
    if (title) this.#conversations.rename(conversation, title);
  }

  async #remove(conversation) {
    const title = t("sidebar.delete.title", { title: conversation.title });
    if (!(await confirmed(title, t("sidebar.delete")))) return;
    this.#answers.stop(conversation);
    this.#conversations.remove(conversation);
  }

  async #removeAll() {
    const { list } = this.#conversations;
    const title = t("sidebar.delete_all.title", { count: list.length, number: number(list.length) });
    if (!(await confirmed(title, t("sidebar.delete_all")))) return;
    for (const each of list) this.#answers.stop(each);
    this.#search.value = "";
    this.#conversations.removeAll();
    byId("message").focus();
  }

  #open() {
    document.body.classList.add("sidebar-open");
    this.#element.inert = false;
    byId("new").focus();
  }

  #close() {
    const wasOpen = document.body.classList.contains("sidebar-open");
    document.body.classList.remove("sidebar-open");
    this.#element.inert = this.#narrow.matches;
    if (wasOpen) byId("open-sidebar").focus();
  }
}
