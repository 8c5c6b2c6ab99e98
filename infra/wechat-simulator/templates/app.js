// The simulator's page. The server holds all state; this polls it and builds elements, never HTML from text.
"use strict";
const $ = (id) => document.getElementById(id);
const state = { accounts: [], permissions: [], app: null, openid: null, tab: "pushes", shown: "", people: [], open: new Set() };

async function api(path, body, method) {
  const options = body === undefined ? {} : { method: method || "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch("/_sim/" + path, options);
  const data = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Error((data && data.errmsg) || "The simulator answered " + answer.status);
  return data;
}

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

let toastTimer;
function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("shown"), 3500);
}
const attempt = (work) => async (...given) => { try { await work(...given); } catch (error) { toast(error.message); } };

const initial = (name) => (name || "?").trim().charAt(0).toUpperCase();
const avatar = (name, tone) => make("span", { class: "avatar tone-" + tone, "aria-hidden": "true" }, initial(name));
const PERSON = 5; // a follower's colour; accounts have the others, by their place in the list
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });
const current = () => state.accounts.find((account) => account.app_id === state.app);
const path = () => `accounts/${state.app}/followers/${encodeURIComponent(state.openid)}`;

function drawAccounts() {
  $("accounts").replaceChildren(...state.accounts.map((account, place) => make("li", null,
    make("button", { class: "account", "aria-pressed": String(account.app_id === state.app), onclick: attempt(() => choose(account.app_id)) },
      avatar(account.name, place % PERSON),
      make("span", { class: "who" }, make("b", null, account.name), make("small", null, account.description),
        make("small", null, account.followers.toLocaleString("en") + (account.followers === 1 ? " follower" : " followers"))),
      account.authorized ? make("span", { class: "tag ok" }, "bound") : null))));
  const account = current();
  $("owner").hidden = !account;
  if (!account) return;
  $("revoke").hidden = !account.authorized;
  $("change-permissions").hidden = !account.authorized;
  const ids = account.func_ids || [];
  const names = state.permissions.filter((set) => ids.includes(set.id));
  $("owner-state").replaceChildren(...(account.authorized
    ? [make("div", null, `Granted ${ids.length} permission sets:`), make("div", { class: "chips" }, ...names.map((set) => make("span", { class: set.required ? "tag ok" : "tag" }, set.name)))]
    : account.kind === "mini_program"
      ? [make("div", null, "A mini program. The authorization page of the hub’s links offers Official Accounts alone.")]
      : [make("div", null, "Not bound to the hub. Create a binding by the hub’s API, open its link and choose ", make("b", null, account.name), ".")]),
  make("small", { class: "mono" }, account.app_id + " · " + account.original_id));
}

async function loadAccounts() {
  const data = await api("accounts");
  const text = JSON.stringify(data);
  if (text === state.accountsText) return;
  state.accountsText = text;
  state.accounts = data.accounts;
  state.permissions = data.permissions;
  if (!current() && data.accounts.length) {
    const [app, openid] = location.hash.slice(1).split("/").map(decodeURIComponent);
    const linked = data.accounts.find((a) => a.app_id === app);
    if (linked) await choose(app, openid);
    else await choose((data.accounts.find((a) => a.authorized) || data.accounts[0]).app_id);
  }
  else drawAccounts();
}

// The address keeps what is chosen: `#app_id/openid`, so that a reload or a link comes back to it.
function remember() {
  history.replaceState(null, "", "#" + state.app + (state.openid ? "/" + encodeURIComponent(state.openid) : ""));
}

async function choose(app, openid) {
  state.app = app;
  state.openid = openid || null;
  state.shown = "";
  drawAccounts();
  await loadPeople();
  remember();
  await loadChat();
}

async function loadPeople(pick) {
  const data = await api(`accounts/${state.app}/followers?limit=50`);
  state.people = data.followers;
  const options = data.followers.map((f) => make("option", { value: f.openid }, f.name + (f.subscribed ? "" : " (not following)") + " · " + f.openid.slice(-5)));
  $("person").replaceChildren(...options);
  state.openid = pick || (data.followers.some((f) => f.openid === state.openid) ? state.openid : (data.followers[0] || {}).openid) || null;
  if (state.openid) $("person").value = state.openid;
  $("person").disabled = !options.length;
}

function content(item) {
  const data = item.data && typeof item.data === "object" ? item.data : {};
  const via = { passive: "passive reply", customer_service: "customer-service message", template: "template message" }[item.channel];
  const note = via ? make("span", { class: "via" }, via + " · " + clock(item.at)) : null;
  const [first, ...rest] = item.text.split("\n");
  if (item.channel === "template" || item.kind === "news") {
    return make("div", { class: "bubble " + (item.channel === "template" ? "template" : "news") }, make("h4", null, first), make("p", null, rest.join("\n")), note);
  }
  if (item.kind === "msgmenu" && data.msgmenu) {
    const menu = data.msgmenu;
    const taps = (menu.list || []).map((entry) => make("button", { class: "item", onclick: attempt(() => act({ action: "text", content: entry.content, bizmsgmenuid: String(entry.id) })) }, entry.content));
    return make("div", { class: "bubble" }, menu.head_content || "", ...taps, menu.tail_content || "", note);
  }
  if (item.kind === "image" || item.kind === "location") {
    return make("div", { class: "bubble" }, make("div", { class: "thing" }, item.kind === "image" ? "▣ picture" : "◎ " + item.text), note);
  }
  return make("div", { class: "bubble" }, item.text, note);
}

function drawChat(data) {
  const account = current();
  const { follower, messages } = data;
  $("chat-name").textContent = account.name;
  const left = data.window ? Math.max(0, data.window.closes_at - data.now) : 0;
  const until = left > 3600 ? Math.floor(left / 3600) + " h" : left > 60 ? Math.floor(left / 60) + " min" : left + " s";
  $("chat-window").textContent = data.typing ? "is typing…" : data.window ? `may write ${data.window.sends_left} more within ${until}` : "may not write first";
  $("follow").textContent = follower.subscribed ? "Unfollow" : "Follow";
  $("follow").className = follower.subscribed ? "small" : "small primary";
  for (const part of ["menu", "composer"]) $(part).hidden = !follower.subscribed;
  if (!follower.subscribed) $("extras").hidden = true;
  const lines = messages.map((item) => {
    if (item.side === "system") return make("div", { class: "system", title: "WeChat’s own words: the service of this account has a fault, try again later" }, item.text, make("br"), "(the account’s service is at fault)");
    if (item.channel === "event") return make("div", { class: "event" }, follower.name + " " + item.text);
    const mine = item.side === "follower";
    return make("div", { class: mine ? "row mine" : "row" }, mine ? avatar(follower.name, PERSON) : avatar(account.name, state.accounts.indexOf(account) % PERSON), content(item));
  });
  if (!lines.length) {
    lines.push(make("div", { class: "empty" }, follower.subscribed ? "Nothing was said yet. Write something below." : follower.name + " does not follow this account yet. Press Follow, or scan one of its codes."));
  }
  if (!follower.subscribed) {
    lines.push(make("div", { class: "center" }, make("button", { class: "small", onclick: () => $("scan-dialog").showModal() }, "Scan a code instead")));
  }
  $("chat").replaceChildren(...lines);
  $("chat").scrollTop = $("chat").scrollHeight;
}

async function loadChat() {
  if (!state.openid) {
    $("chat-name").textContent = current() ? current().name : "…";
    $("chat-window").textContent = "";
    $("menu").hidden = $("composer").hidden = $("extras").hidden = true;
    $("follow").hidden = true;
    $("chat").replaceChildren(make("div", { class: "empty" }, "Nobody follows this account. Press New person below."));
    return;
  }
  $("follow").hidden = false;
  const asked = state.openid;
  const data = await api(path() + "/messages");
  if (asked !== state.openid) return;
  const shown = JSON.stringify([asked, data.messages.length, data.messages.at(-1), data.follower, data.window, data.typing, data.window && Math.floor(data.now / 5)]);
  if (shown !== state.shown) { state.shown = shown; drawChat(data); }
}

async function act(body) {
  const asked = api(path() + "/act", body);
  setTimeout(attempt(loadChat), 120);
  const delivery = await asked;
  if (delivery.outcome === "not_sent") toast("Not pushed: " + delivery.note);
  if (body.action === "follow" || body.action === "unfollow" || body.action === "scan") { await loadPeople(state.openid); await loadAccounts(); }
  await loadChat();
  await loadLog();
}

const pretty = (xml) => xml.replace(/^<xml>|<\/xml>$/g, "").replace(/(<\/[^<>]+>)(?=<)/g, "$1\n").replace(/<!\[CDATA\[([\s\S]*?)\]\]>/g, "$1");
const outcomes = { accepted: ["accepted", "tag ok"], replied: ["replied", "tag ok"], malformed: ["malformed", "tag bad"], failed: ["failed", "tag bad"], not_sent: ["not sent", "tag warn"] };

function drawPush(push) {
  const [word, style] = outcomes[push.outcome] || [push.outcome, "tag"];
  const about = push.app_id || (push.plaintext.match(/<AuthorizerAppid><!\[CDATA\[(.*?)\]\]>/) || [])[1];
  const name = (state.accounts.find((a) => a.app_id === about) || {}).name;
  const tries = push.attempts.length > 1 ? ` · ${push.attempts.length} attempts` : "";
  const details = make("details", null,
    make("summary", null, make("time", null, clock(push.at)), make("span", { class: "what" }, push.kind + tries, name ? make("small", null, " · " + name) : null), make("span", { class: style }, word)),
    make("pre", null, pretty(push.plaintext)));
  if (push.reply) details.append(make("small", null, "The reply, decrypted"), make("pre", null, pretty(push.reply)));
  const errors = push.attempts.filter((a) => a.error).map((a) => a.error);
  if (push.note || errors.length) details.append(make("small", null, [push.note, ...errors].filter(Boolean).join(" · ")));
  details.open = state.open.has(push.id);
  details.addEventListener("toggle", () => details.open ? state.open.add(push.id) : state.open.delete(push.id));
  return details;
}

function drawCall(call) {
  const name = (state.accounts.find((a) => a.app_id === call.app_id) || {}).name;
  const bad = call.errcode !== 0 || call.fault;
  return make("div", { class: "call" }, make("time", null, clock(call.at)),
    make("span", { class: "what" }, call.path.replace("/cgi-bin/", ""), name ? make("small", null, " · " + name) : null),
    make("span", { class: bad ? "tag bad" : "tag ok" }, call.errcode !== 0 ? call.errcode + (call.fault ? " (fault)" : "") : call.fault || "ok"));
}

async function loadLog() {
  const data = state.tab === "pushes" ? await api("deliveries?limit=60") : await api("calls?limit=100");
  const rows = state.tab === "pushes" ? data.deliveries : data.calls;
  const text = state.tab + JSON.stringify(rows);
  if (text === state.logText) return;
  state.logText = text;
  $("log").replaceChildren(...rows.map(state.tab === "pushes" ? drawPush : drawCall));
  if (!rows.length) $("log").append(make("p", { class: "hint" }, "Nothing yet."));
}

function tab(name) {
  state.tab = name;
  for (const other of ["pushes", "calls"]) $("tab-" + other).setAttribute("aria-selected", String(other === name));
  attempt(loadLog)();
}

document.querySelectorAll("[data-act]").forEach((button) => button.addEventListener("click", attempt(() => act(JSON.parse(button.dataset.act)))));
$("composer").addEventListener("submit", attempt(async (event) => {
  event.preventDefault();
  const words = $("words").value.trim();
  if (!words) return;
  $("words").value = "";
  await act({ action: "text", content: words });
}));
$("more").addEventListener("click", () => {
  $("extras").hidden = !$("extras").hidden;
  $("more").setAttribute("aria-expanded", String(!$("extras").hidden));
});
$("follow").addEventListener("click", attempt(() => act({ action: $("follow").textContent === "Follow" ? "follow" : "unfollow" })));
$("person").addEventListener("change", attempt(async () => { state.openid = $("person").value; state.shown = ""; remember(); await loadChat(); }));
$("tab-pushes").addEventListener("click", () => tab("pushes"));
$("tab-calls").addEventListener("click", () => tab("calls"));
$("scan").addEventListener("click", () => $("scan-dialog").showModal());
$("scan-dialog").addEventListener("close", attempt(async () => {
  if ($("scan-dialog").returnValue === "ok" && $("scene").value) await act({ action: "scan", scene: $("scene").value });
}));
$("new-person").addEventListener("click", () => $("new-dialog").showModal());
$("new-dialog").addEventListener("close", attempt(async () => {
  if ($("new-dialog").returnValue !== "ok") return;
  const person = await api(`accounts/${state.app}/followers`, { name: $("new-name").value || "Somebody" });
  await loadPeople(person.openid);
  remember();
  await loadChat();
}));
$("revoke").addEventListener("click", attempt(async () => {
  await api("unauthorize", { app_id: state.app });
  await loadAccounts();
  toast("Revoked. The hub is told.");
}));
$("change-permissions").addEventListener("click", () => {
  const ids = current().func_ids || [];
  $("permission-sets").replaceChildren(...state.permissions.map((set) => {
    const box = make("input", { type: "checkbox", value: set.id });
    box.checked = ids.includes(set.id);
    return make("label", null, box, set.name, set.required ? make("span", { class: "dot", title: "oahub needs it" }) : null);
  }));
  $("permissions-dialog").showModal();
});
$("permissions-dialog").addEventListener("close", attempt(async () => {
  if ($("permissions-dialog").returnValue !== "ok") return;
  const ids = [...$("permission-sets").querySelectorAll("input:checked")].map((box) => Number(box.value));
  await api("authorize", { app_id: state.app, func_ids: ids });
  await loadAccounts();
  toast("Changed. The hub is told.");
}));

$("owner").open = window.innerWidth > 740;
let failing = false;
async function poll() {
  try {
    await loadAccounts();
    if (state.app) await loadChat();
    await loadLog();
    failing = false;
  } catch (error) {
    if (!failing) toast(error.message);
    failing = true;
  }
  setTimeout(poll, document.hidden ? 5000 : 1200);
}
poll();
