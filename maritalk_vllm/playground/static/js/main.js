// The page, put together.

import { Answering } from "./answering.js";
import { Banner } from "./banner.js";
import { Batches } from "./batches.js";
import { CodeDialog } from "./code_dialog.js";
import { Completion } from "./completion.js";
import { Composer } from "./composer.js";
import { Conversations } from "./conversations.js";
import { Examples } from "./demo.js";
import { byId } from "./dom.js";
import { changeLanguage, language, onLanguage, translate } from "./language.js";
import { Model } from "./model.js";
import { Server } from "./server.js";
import { Settings } from "./settings.js";
import { SettingsPanel } from "./settings_panel.js";
import { Sidebar } from "./sidebar.js";
import { Strip } from "./strip.js";
import { beginTheme } from "./theme.js";
import { Transcript } from "./transcript.js";

translate();
beginTheme();

const chatSettings = new Settings("chat");
const textSettings = new Settings("text");
const conversations = new Conversations();
const answering = new Answering(conversations, chatSettings);
const composer = new Composer(conversations, answering);
const panel = new SettingsPanel(conversations);
const server = new Server();
const examples = new Examples(server, composer, chatSettings);
const completion = new Completion(textSettings, examples);
new Sidebar(conversations, answering);
new Transcript(conversations, answering);
const batches = new Batches(server);
new Strip(server);
new Banner(server);
new CodeDialog(new Model(server), examples);

/** Where each view begins for the keyboard. */
const BEGINNINGS = { "#chat": "message", "#text": "prompt", "#batches": "choose-file" };

/** The view that the address names, if there is one: the conversation, the text, or the batches. */
function showView() {
  const shown = currentView();
  for (const link of byId("views").children) {
    byId(link.hash.slice(1)).hidden = link !== shown;
    if (link === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("open-settings").hidden = shown.hash === "#batches";
}

function currentView() {
  const [chat, ...others] = byId("views").children;
  return others.find((link) => link.hash === location.hash && !link.hidden) ?? chat;
}

function showLanguage() {
  for (const button of byId("languages").children) {
    button.setAttribute("aria-pressed", String(button.value === language()));
  }
}

addEventListener("hashchange", showView);
batches.addEventListener("offered", showView);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId(BEGINNINGS[currentView().hash]).focus();
});
byId("open-settings").addEventListener("click", () => {
  if (byId("chat").hidden) panel.open(textSettings, { withSystem: false });
  else panel.open(chatSettings, { withSystem: true });
});
for (const button of byId("languages").children) {
  button.addEventListener("click", () => changeLanguage(button.value));
}
onLanguage(() => {
  showLanguage();
  composer.translate();
  completion.show();
});
conversations.addEventListener("full", () => {
  byId("full").hidden = false;
});

showView();
showLanguage();
document.body.classList.add("begun");
byId("message").focus();
server.watch();
