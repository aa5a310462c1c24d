// How names and times are shown.

const HUES = 12; // as many as style.css has

/** Shows text in an element. The one way in which anything that somebody typed gets into the page. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Gives an avatar element its initials and its hue; the same id has the same hue everywhere. */
export function setAvatar(element, { name, id, group = false, online = false }) {
  setText(element, initials(name));
  const hue = `hue-${Number(BigInt.asUintN(32, id * 7n) % BigInt(HUES))}`;
  const classes = ["avatar", hue, group && "group", online && "online"].filter(Boolean).join(" ");
  if (element.className !== classes) element.className = classes;
}

/** The first letters of the first and the last word, or the last two digits of a number. */
function initials(name) {
  const words = name.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  if (words.length === 0) return "?";
  const last = words.at(-1);
  if (/^\d+$/.test(last) && words.length > 1) return last.slice(-2);
  const picked = words.length > 1 ? [words[0], last] : [words[0]];
  return picked.map((word) => word.match(/[\p{L}\p{N}]/u)[0].toUpperCase()).join("");
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dateAndYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

/** A time of day. */
export const timeOfDay = (time) => clock.format(time);

/** A day: Today, Yesterday, the weekday within a week, else the date. */
export function day(time, now = new Date()) {
  const midnight = (t) => new Date(t.getFullYear(), t.getMonth(), t.getDate());
  const days = Math.round((midnight(now) - midnight(time)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return weekday.format(time);
  return (time.getFullYear() === now.getFullYear() ? date : dateAndYear).format(time);
}

/** A time beside a conversation: the time of day if it was today, else the day. */
export function shortTime(time, now = new Date()) {
  const that = day(time, now);
  return that === "Today" ? timeOfDay(time) : that;
}
