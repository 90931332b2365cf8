// Creates the parts of the page and connects them.

import { Answers } from "./answers.js";
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
import { StatusBar } from "./status_bar.js";
import { initTheme } from "./theme.js";
import { Transcript } from "./transcript.js";

translate();
initTheme();

const chatSettings = new Settings("chat");
const textSettings = new Settings("text");
const conversations = new Conversations();
const answers = new Answers(conversations, chatSettings);
const composer = new Composer(conversations, answers);
const panel = new SettingsPanel(conversations);
const server = new Server();
const examples = new Examples(server, composer, chatSettings);
const completion = new Completion(textSettings, examples);
new Sidebar(conversations, answers);
new Transcript(conversations, answers);
const batches = new Batches(server);
new StatusBar(server);
new Banner(server);
new CodeDialog(new Model(server), examples);

/** The first input of each view, which the skip link focuses. */
const FIRST_INPUTS = { "#chat": "message", "#text": "prompt", "#batches": "choose-file" };

/** Show the view that the URL's hash names: the conversation, the text, or the batches. */
function showView() {
  const current = currentView();
  for (const link of byId("views").children) {
    byId(link.hash.slice(1)).hidden = link !== current;
    if (link === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("open-settings").hidden = current.hash === "#batches";
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
batches.addEventListener("supported", showView);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId(FIRST_INPUTS[currentView().hash]).focus();
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
  byId("storage-full").hidden = false;
});

showView();
showLanguage();
document.body.classList.add("loaded");
byId("message").focus();
server.poll();
